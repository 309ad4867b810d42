//! Random histories of roles and members beside a model of them: what is allowed is what the model allows, nobody ever
//! gains what whoever gave it lacked, and an active owner is always there.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use bulkhead_iam::{
    grants::service as grants,
    members::{NewMember, service as members},
    permissions::{Permission, PermissionSet, SystemRole},
    roles::{NewRole, RoleChanges, service as roles},
};
use bulkhead_kernel::ids::{IdentityId, RoleId, TenantId};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{Desk, grants::active};

const N_PEOPLE: usize = 5;

/// Enough to make people who may do some things and not others.
const PALETTE: [Permission; 9] = [
    Permission::VmRead,
    Permission::UserCreate,
    Permission::UserUpdate,
    Permission::UserDelete,
    Permission::RoleCreate,
    Permission::RoleUpdate,
    Permission::RoleDelete,
    Permission::RoleAssignUsers,
    Permission::TenantExport,
];

/// One thing that somebody tries. Numbers choose among what is there.
#[derive(Debug, Clone)]
enum Try {
    CreateRole(u16),
    EditRole(usize, u16),
    DeleteRole(usize),
    Assign(usize, usize),
    Unassign(usize, usize),
    SetHolders(usize, u8),
    SetActive(usize, bool),
    Remove(usize),
    Add(usize, Vec<usize>),
}

fn tries() -> impl Strategy<Value = (usize, Try)> {
    let (person, role) = (0..N_PEOPLE, 0..12_usize);
    let what = prop_oneof![
        2 => any::<u16>().prop_map(Try::CreateRole),
        2 => (role.clone(), any::<u16>()).prop_map(|(role, set)| Try::EditRole(role, set)),
        1 => role.clone().prop_map(Try::DeleteRole),
        4 => (person.clone(), role.clone()).prop_map(|(person, role)| Try::Assign(person, role)),
        3 => (person.clone(), role.clone()).prop_map(|(person, role)| Try::Unassign(person, role)),
        2 => (role.clone(), any::<u8>()).prop_map(|(role, set)| Try::SetHolders(role, set)),
        2 => (person.clone(), any::<bool>()).prop_map(|(person, is_active)| Try::SetActive(person, is_active)),
        1 => person.clone().prop_map(Try::Remove),
        2 => (person.clone(), vec(role, 0..3)).prop_map(|(person, roles)| Try::Add(person, roles)),
    ];
    // The founder acts more often than others, so that histories get somewhere.
    (prop_oneof![1 => Just(0), 2 => person], what)
}

fn palette(set: u16) -> PermissionSet {
    let chosen = PALETTE.iter().enumerate().filter(|(index, _)| set & (1 << index) != 0);
    chosen.map(|(_, permission)| *permission).collect()
}

#[derive(Debug, Clone, PartialEq)]
struct Person {
    is_active: bool,
    roles: BTreeSet<RoleId>,
}

/// What the tenant must look like.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    people: BTreeMap<usize, Person>,
    /// In the order of their making, those of the system first.
    roles: Vec<(RoleId, PermissionSet)>,
}

impl Model {
    fn role(&self, number: usize) -> (RoleId, PermissionSet) {
        self.roles[number % self.roles.len()]
    }

    /// Everything that somebody's roles allow, whether they may enter or not.
    fn kept(&self, person: usize) -> PermissionSet {
        let roles = self.people.get(&person).map(|person| &person.roles);
        let held = self
            .roles
            .iter()
            .filter(|(id, _)| roles.is_some_and(|roles| roles.contains(id)));
        held.fold(PermissionSet::EMPTY, |all, (_, set)| all.with(*set))
    }

    fn held(&self, person: usize) -> PermissionSet {
        match self.people.get(&person) {
            Some(Person { is_active: true, .. }) => self.kept(person),
            _ => PermissionSet::EMPTY,
        }
    }

    fn has_owner(&self) -> bool {
        let owner = self.roles[0].0;
        self.people
            .values()
            .any(|person| person.is_active && person.roles.contains(&owner))
    }

    /// The state after the try, or none where it is refused. A new role gets `fresh` for an id.
    fn after(&self, actor: usize, what: &Try, fresh: RoleId) -> Option<Self> {
        let held = self.held(actor);
        let is_there = self.people.get(&actor).is_some_and(|person| person.is_active);
        let may = |permission| is_there && held.contains(permission);
        let mut next = self.clone();
        let is_own = |number: usize| number % self.roles.len() >= SystemRole::ALL.len();
        let is_allowed = match what {
            Try::CreateRole(set) => {
                next.roles.push((fresh, palette(*set)));
                may(Permission::RoleCreate) && held.covers(palette(*set))
            }
            Try::EditRole(number, set) => {
                let place = number % self.roles.len();
                next.roles[place].1 = palette(*set);
                let covers = held.covers(self.roles[place].1) && held.covers(palette(*set));
                may(Permission::RoleUpdate) && is_own(*number) && covers
            }
            Try::DeleteRole(number) => {
                let (id, set) = self.role(*number);
                next.roles.retain(|role| role.0 != id);
                let is_free = !self.people.values().any(|person| person.roles.contains(&id));
                may(Permission::RoleDelete) && is_own(*number) && held.covers(set) && is_free
            }
            Try::Assign(person, number) => {
                let (id, set) = self.role(*number);
                let target = next.people.get_mut(person)?;
                target.roles.insert(id);
                may(Permission::RoleAssignUsers) && held.covers(set) && held.covers(self.kept(*person))
            }
            Try::Unassign(person, number) => {
                let was_there = next.people.get_mut(person)?.roles.remove(&self.role(*number).0);
                may(Permission::RoleAssignUsers) && was_there && held.covers(self.kept(*person))
            }
            Try::SetHolders(number, set) => {
                let (id, role) = self.role(*number);
                let wanted = |person: usize| set & (1 << person) != 0;
                let mut covers = held.covers(role);
                for (&person, target) in &mut next.people {
                    let had = target.roles.contains(&id);
                    if wanted(person) {
                        target.roles.insert(id);
                    } else {
                        target.roles.remove(&id);
                    }
                    covers &= had == wanted(person) || held.covers(self.kept(person));
                }
                let are_there = (0..N_PEOPLE).filter(|&person| wanted(person));
                may(Permission::RoleAssignUsers)
                    && covers
                    && are_there.into_iter().all(|p| self.people.contains_key(&p))
            }
            Try::SetActive(person, is_active) => {
                next.people.get_mut(person)?.is_active = *is_active;
                may(Permission::UserUpdate) && held.covers(self.kept(*person))
            }
            Try::Remove(person) => {
                next.people.remove(person)?;
                may(Permission::UserDelete) && held.covers(self.kept(*person))
            }
            Try::Add(person, numbers) => {
                let given: Vec<_> = numbers.iter().map(|&number| self.role(number)).collect();
                let target = next.people.entry(*person).or_insert(Person {
                    is_active: false,
                    roles: BTreeSet::new(),
                });
                let is_new = !target.is_active;
                target.is_active = true;
                target.roles.extend(given.iter().map(|role| role.0));
                let may_give = given.is_empty() || may(Permission::RoleAssignUsers);
                let covers = given.iter().all(|role| held.covers(role.1)) && held.covers(self.kept(*person));
                may(Permission::UserCreate) && may_give && is_new && covers
            }
        };
        (is_allowed && next.has_owner()).then_some(next)
    }
}

/// The tenant of one history.
struct Walk<'a> {
    desk: &'a Desk,
    tenant: TenantId,
    people: &'a [IdentityId],
}

fn email(person: usize) -> String {
    format!("person{person}@example.com")
}

impl Walk<'_> {
    /// What the rows say.
    async fn look(&self, order: &[(RoleId, PermissionSet)]) -> Model {
        let mut tx = self.desk.db.tenant(self.tenant).await.unwrap();
        let scope = self.desk.scope(self.people[0], self.tenant).await;
        let found = roles::list(&scope, &mut tx).await.unwrap();
        let mut roles: Vec<_> = found.iter().map(|role| (role.id, role.permissions.known())).collect();
        let place = |id: RoleId| order.iter().position(|known| known.0 == id).unwrap_or(usize::MAX);
        roles.sort_by_key(|role| place(role.0));
        let mut people = BTreeMap::new();
        for (number, &id) in self.people.iter().enumerate() {
            if let Ok(member) = members::find(&mut tx, id).await {
                let of_name = |name: &String| found.iter().find(|role| role.name == *name).unwrap().id;
                let person = Person {
                    is_active: member.is_active,
                    roles: member.roles.iter().map(of_name).collect(),
                };
                people.insert(number, person);
            }
        }
        Model { people, roles }
    }

    /// Tries it for real; whether it was done, and the id of a role that was made.
    async fn attempt(&self, actor: usize, what: &Try, model: &Model, step: usize) -> (bool, Option<RoleId>) {
        let scope = self.desk.scope(self.people[actor], self.tenant).await;
        let ids = |set: u16| palette(set).iter().map(|p| p.as_str().to_owned()).collect::<Vec<_>>();
        let role = |number: &usize| model.role(*number).0;
        if let Try::Add(person, numbers) = what {
            let role_ids: Vec<_> = numbers.iter().map(|number| role(number).to_string()).collect();
            let new = NewMember::parse(&email(*person), "A", "B", &role_ids).unwrap();
            return (members::add(&scope, &self.desk.iam, &new, None).await.is_ok(), None);
        }
        let mut tx = self.desk.db.tenant(self.tenant).await.unwrap();
        let mut made = None;
        let is_done = match what {
            Try::CreateRole(set) => {
                let new = NewRole::parse(&format!("role {step}"), "", &ids(*set)).unwrap();
                let created = roles::create(&scope, &mut tx, &new, None).await;
                made = created.as_ref().ok().map(|role| role.id);
                created.is_ok()
            }
            Try::EditRole(number, set) => {
                let changes = RoleChanges::parse(None, None, Some(&ids(*set))).unwrap();
                roles::update(&scope, &mut tx, role(number), None, &changes)
                    .await
                    .is_ok()
            }
            Try::DeleteRole(number) => roles::delete(&scope, &mut tx, role(number), None).await.is_ok(),
            Try::Assign(person, number) => {
                let id = role(number).to_string();
                grants::assign(&scope, &mut tx, self.people[*person], &id).await.is_ok()
            }
            Try::Unassign(person, number) => {
                let id = role(number);
                grants::unassign(&scope, &mut tx, self.people[*person], id)
                    .await
                    .is_ok()
            }
            Try::SetHolders(number, set) => {
                let wanted = (0..N_PEOPLE).filter(|person| set & (1 << person) != 0);
                let wanted: Vec<_> = wanted.map(|person| self.people[person]).collect();
                grants::set_holders(&scope, &mut tx, role(number), &wanted)
                    .await
                    .is_ok()
            }
            Try::SetActive(person, is_active) => {
                let changes = active(*is_active);
                members::update(&scope, &mut tx, self.people[*person], None, &changes)
                    .await
                    .is_ok()
            }
            Try::Remove(person) => members::remove(&scope, &mut tx, self.people[*person], None)
                .await
                .is_ok(),
            Try::Add(..) => false,
        };
        if is_done {
            tx.commit().await.unwrap();
        }
        (is_done, made)
    }

    async fn walk(&self, history: &[(usize, Try)]) -> Result<(), TestCaseError> {
        let mut model = self.look(&[]).await;
        prop_assert!(model.has_owner() && model.people.len() == 4);
        for (step, (actor, what)) in history.iter().enumerate() {
            let (is_done, made) = self.attempt(*actor, what, &model, step).await;
            let expected = model.after(*actor, what, made.unwrap_or_else(RoleId::new));
            prop_assert_eq!(
                is_done,
                expected.is_some(),
                "step {}: {} {:?} in {:?}",
                step,
                actor,
                what,
                &model
            );
            let expected = expected.unwrap_or_else(|| model.clone());
            let found = self.look(&expected.roles).await;
            // These two hold whatever the model thinks of the step.
            for person in 0..N_PEOPLE {
                let gained = found.kept(person).without(model.kept(person));
                prop_assert!(
                    model.held(*actor).covers(gained),
                    "step {}: {} gained {:?}",
                    step,
                    person,
                    gained
                );
                let gained = found.held(person).without(model.held(person));
                prop_assert!(
                    model.held(*actor).covers(gained),
                    "step {}: {} gained {:?}",
                    step,
                    person,
                    gained
                );
            }
            prop_assert!(found.has_owner(), "step {} left no owner", step);
            prop_assert_eq!(&found, &expected, "step {}", step);
            model = found;
        }
        Ok(())
    }
}

/// A tenant with an owner, an admin, a member and a viewer; the last person comes later.
async fn begin(desk: &Desk, people: &[IdentityId], number: usize) -> TenantId {
    let tenant = desk.tenant(&format!("tenant-{number}"), people[0]).await;
    for (person, role) in [(1, "admin"), (2, "member"), (3, "viewer")] {
        let id = people[person].uuid();
        let rows = format!(
            "INSERT INTO members (identity_id, email, first_name, last_name) VALUES ('{id}', '{}', 'A', 'B'); \
             INSERT INTO member_roles (identity_id, role_id) SELECT '{id}', id FROM roles WHERE name = '{role}'",
            email(person)
        );
        desk.run_in(tenant, &rows).await;
    }
    tenant
}

#[test]
fn no_history_of_changes_gives_anybody_what_their_granter_lacked_or_takes_the_last_owner() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (desk, people) = runtime.block_on(async {
        let desk = Desk::new().await;
        let mut people = Vec::new();
        for person in 0..N_PEOPLE {
            people.push(desk.register(&email(person)).await);
        }
        (desk, people)
    });
    let config = Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    };
    let n_tenants = Cell::new(0);
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&vec(tries(), 10..40), |history| {
        n_tenants.set(n_tenants.get() + 1);
        runtime.block_on(async {
            let tenant = begin(&desk, &people, n_tenants.get()).await;
            let walk = Walk {
                desk: &desk,
                tenant,
                people: &people,
            };
            walk.walk(&history).await
        })
    });
    if let Err(failed) = outcome {
        panic!("{failed}");
    }
}
