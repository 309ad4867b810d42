//! Turns what the product said into scripts for pgbench.

use anyhow::{Context, bail};

use crate::{recorder::Recorded, tenants::Persona};

/// The most scripts that one pgbench takes.
const MAX_SCRIPTS: usize = 120;

/// How the statements travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `BEGIN`, each statement and `COMMIT` take a round trip each.
    Naive,
    /// All statements in one message, which is a transaction by itself.
    OneMessage,
}

/// The statements of one request, as the product sent them for one persona.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    statements: Vec<String>,
    persona: Persona,
}

impl Recording {
    /// Of a request by `persona`. A tenant that is entered twice would be entered once by whoever writes it by hand.
    pub(crate) fn of(said: &[Recorded], persona: &Persona) -> anyhow::Result<Self> {
        let mut statements: Vec<String> = Vec::new();
        for message in said {
            let Recorded::Simple(message) = message else {
                bail!("the request is not one of simple messages: {message:?}");
            };
            for statement in split(message) {
                if !(statement.contains("control.enter_tenant(") && statements.contains(&statement)) {
                    statements.push(statement);
                }
            }
        }
        if statements.is_empty() {
            bail!("the request did not reach PostgreSQL");
        }
        if !statements[0].contains(&persona.tenant) {
            bail!("the request does not begin with its tenant: {}", statements[0]);
        }
        let persona = persona.clone();
        Ok(Self { statements, persona })
    }

    /// The statements, for the report.
    pub(crate) fn statements(&self) -> &[String] {
        &self.statements
    }

    /// All statements in one message, for another persona.
    pub(crate) fn message(&self, persona: &Persona) -> String {
        let fitted = self.statements.iter().map(|statement| self.fit(statement, persona));
        fitted.collect::<Vec<_>>().join(";")
    }

    /// Scripts that together do what the request does, each time for another tenant.
    pub(crate) fn scripts(&self, shape: Shape, personas: &[Persona]) -> Vec<String> {
        let per_script = personas.len().div_ceil(MAX_SCRIPTS).max(1);
        // Equal shares, because pgbench draws among scripts evenly.
        personas
            .chunks(per_script)
            .map(|share| self.script(shape, share))
            .collect()
    }

    fn script(&self, shape: Shape, personas: &[Persona]) -> String {
        if let [persona] = personas {
            return self.transaction(shape, persona);
        }
        let branches = (1..).zip(personas).map(|(number, persona)| {
            let branch = if number == 1 { "if" } else { "elif" };
            format!("\\{branch} :pick = {number}\n{}", self.transaction(shape, persona))
        });
        let branches: String = branches.collect();
        format!("\\set pick random(1, {})\n{branches}\\endif\n", personas.len())
    }

    fn transaction(&self, shape: Shape, persona: &Persona) -> String {
        let statements: Vec<String> = self
            .statements
            .iter()
            .map(|statement| self.fit(statement, persona))
            .collect();
        match shape {
            Shape::Naive => format!("BEGIN;\n{};\nCOMMIT;\n", statements.join(";\n")),
            Shape::OneMessage => format!("{};\n", statements.join(" \\;\n")),
        }
    }

    fn fit(&self, statement: &str, persona: &Persona) -> String {
        statement
            .replace(&self.persona.tenant, &persona.tenant)
            .replace(&self.persona.identity, &persona.identity)
            .replace(&self.persona.session, &persona.session)
    }
}

/// The statements of a message, cut at semicolons outside quotes.
fn split(message: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    let mut is_quoted = false;
    for character in message.chars() {
        is_quoted ^= character == '\'';
        match statements.last_mut() {
            Some(statement) if character != ';' || is_quoted => statement.push(character),
            _ => statements.push(String::new()),
        }
    }
    let trimmed = statements.iter().map(|statement| statement.trim().to_owned());
    trimmed.filter(|statement| !statement.is_empty()).collect()
}

/// `0190a1b2c3d47e5f8091a2b3c4d5e6f7` behind its prefix, as PostgreSQL writes it.
pub(crate) fn uuid_of(id: &str) -> anyhow::Result<String> {
    let hex = id.split_once('_').map_or(id, |(_, hex)| hex);
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("not an id: {id}");
    }
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range));
    let parts: Option<Vec<&str>> = parts.into_iter().collect();
    Ok(parts.context("not an id")?.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn persona(n: u8) -> Persona {
        Persona {
            tenant: format!("tenant-{n}"),
            identity: format!("identity-{n}"),
            session: format!("session-{n}"),
            token: String::new(),
        }
    }

    fn recording() -> Recording {
        let said = [
            "SELECT control.enter_tenant('tenant-1'::uuid, 2, 5000, 1, 2, false);SELECT 'a;b', 'identity-1'",
            "SELECT control.enter_tenant('tenant-1'::uuid, 2, 5000, 1, 2, false);SELECT 2",
        ];
        Recording::of(&said.map(|sql| Recorded::Simple(sql.into())), &persona(1)).unwrap()
    }

    #[test]
    fn a_request_of_two_messages_enters_its_tenant_once() {
        assert_eq!(recording().statements().len(), 3);
        assert_eq!(recording().statements()[1], "SELECT 'a;b', 'identity-1'");
    }

    #[test]
    fn each_script_carries_the_ids_of_its_tenant() {
        let scripts = recording().scripts(Shape::Naive, &[persona(2)]);
        let enter = "SELECT control.enter_tenant('tenant-2'::uuid, 2, 5000, 1, 2, false)";
        assert_eq!(
            scripts,
            [format!(
                "BEGIN;\n{enter};\nSELECT 'a;b', 'identity-2';\nSELECT 2;\nCOMMIT;\n"
            )]
        );
        let scripts = recording().scripts(Shape::OneMessage, &[persona(3)]);
        assert_eq!(scripts[0].matches("\\;").count(), 2);
    }

    #[test]
    fn many_tenants_share_few_scripts() {
        let personas: Vec<_> = (0..240).map(persona).collect();
        let scripts = recording().scripts(Shape::Naive, &personas);
        assert_eq!(scripts.len(), 120);
        assert!(scripts[0].starts_with("\\set pick random(1, 2)\n\\if :pick = 1\nBEGIN;"));
        assert!(scripts[119].ends_with("COMMIT;\n\\endif\n"));
    }

    #[test]
    fn what_cannot_be_a_floor_is_refused() {
        assert!(Recording::of(&[], &persona(1)).is_err());
        assert!(Recording::of(&[Recorded::Extended("SELECT $1".into())], &persona(1)).is_err());
        assert!(Recording::of(&[Recorded::Simple("SELECT 1".into())], &persona(1)).is_err());
    }

    #[test]
    fn an_id_becomes_a_uuid() {
        let uuid = uuid_of("org_0190a1b2c3d47e5f8091a2b3c4d5e6f7").unwrap();
        assert_eq!(uuid, "0190a1b2-c3d4-7e5f-8091-a2b3c4d5e6f7");
        assert!(uuid_of("org_short").is_err());
    }
}
