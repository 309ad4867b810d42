//! Migrations may run while the release before them serves: forward only, expand before contract, no long lock.

use super::files;

/// A file without comments, as statements in capitals with single spaces. What stands between quotes or dollars becomes
/// a mark, so that no rule sees a word in a text or in a body.
fn statements(text: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let skipped = if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            plain.push_str("'…'");
            quoted.find('\'').map_or(rest.len(), |end| end + 2)
        } else if let Some(tagged) = rest.strip_prefix('$') {
            let mark = tagged.find('$').map_or(rest.len(), |end| end + 2);
            plain.push_str("'…'");
            rest[mark..]
                .find(&rest[..mark])
                .map_or(rest.len(), |end| end + 2 * mark)
        } else {
            let first = rest.chars().next().unwrap();
            plain.extend(first.to_uppercase());
            first.len_utf8()
        };
        rest = &rest[skipped..];
    }
    let words = |statement: &str| statement.split_whitespace().collect::<Vec<_>>().join(" ");
    plain
        .split(';')
        .map(words)
        .filter(|statement| !statement.is_empty())
        .collect()
}

/// The comma separated parts of what a statement does, commas inside parentheses aside.
fn parts(statement: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in statement.chars() {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        if letter == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).collect()
}

const CONTRACTING: &str =
    "takes away what the release before may use; begin the file with `-- contract: <version that stopped using it>`";
const TYPE: &str = "changes a type in place: add a column, fill it, switch, contract";
const REWRITE: &str = "writes the whole table anew under an exclusive lock";
const UNNAMED: &str = "leaves a constraint without a name";
const UNVALIDATED: &str =
    "reads the whole table under a lock: NOT VALID here, VALIDATE CONSTRAINT in the next migration";
const NULLS: &str = "refuses the rows that are there: give a default, or fill the column first";
const TRANSACTION: &str = "must not end its transaction, nor need to run outside of one";
const STAR: &str = "does not name its columns";
const KIND: &str = "makes a type, a domain or a sequence, which each tenant would have under another OID";
const SCANS: &str =
    "reads the whole table under an exclusive lock: validate a CHECK (… IS NOT NULL) two migrations before";

/// What both kinds of migrations must not do.
fn breaks_promises(text: &str, statement: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let is_contract = text.lines().any(|line| {
        line.strip_prefix("-- contract: ")
            .is_some_and(|version| !version.trim().is_empty())
    });
    let alters = statement.starts_with("ALTER TABLE");
    let takes_away = statement.starts_with("DROP TABLE")
        || statement.starts_with("DROP SCHEMA")
        || statement.starts_with("TRUNCATE")
        || (alters && (drops_column(statement) || statement.contains(" RENAME ")));
    if takes_away && !is_contract {
        found.push(CONTRACTING);
    }
    if alters && (statement.contains(" SET DATA TYPE ") || is_type_change(statement)) {
        found.push(TYPE);
    }
    let first = statement.split(' ').next().unwrap_or_default();
    if ["BEGIN", "START", "COMMIT", "ROLLBACK", "END", "VACUUM"].contains(&first) || statement.contains(" CONCURRENTLY")
    {
        found.push(TRANSACTION);
    }
    if statement.contains("SELECT *") || statement.contains(".*") {
        found.push(STAR);
    }
    found
}

fn is_type_change(statement: &str) -> bool {
    parts(statement).iter().any(|part| {
        let changed = part.split("ALTER ").last().unwrap_or_default();
        let mut words = changed.trim_start_matches("COLUMN ").split(' ');
        words.nth(1) == Some("TYPE")
    })
}

/// The word COLUMN may be left out.
fn drops_column(statement: &str) -> bool {
    let others = ["CONSTRAINT", "NOT", "DEFAULT", "EXPRESSION", "IDENTITY"];
    let dropped = statement.split(" DROP ").skip(1);
    dropped
        .into_iter()
        .any(|rest| !others.contains(&rest.split(' ').next().unwrap_or_default()))
}

/// What a migration of tenants' schemas must not do besides.
fn locks_long(statement: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let makes_kind = ["CREATE TYPE", "CREATE DOMAIN", "CREATE SEQUENCE"]
        .iter()
        .any(|begin| statement.starts_with(begin));
    if makes_kind || statement.contains("SERIAL") || statement.contains(" AS IDENTITY") {
        found.push(KIND);
    }
    for part in parts(statement) {
        if statement.starts_with("ALTER TABLE") {
            found.extend(alters_badly(&part));
        } else if statement.starts_with("CREATE TABLE")
            && let Some((_, columns)) = statement.split_once('(')
            && parts(columns.trim_end_matches(')'))
                .iter()
                .any(|column| is_unnamed(column))
        {
            found.push(UNNAMED);
        }
    }
    let rewrites = [" SET LOGGED", " SET UNLOGGED", " SET TABLESPACE", " SET ACCESS METHOD"];
    if statement.starts_with("CLUSTER") || rewrites.iter().any(|words| statement.contains(words)) {
        found.push(REWRITE);
    }
    found
}

fn alters_badly(part: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    if part.contains("SET NOT NULL") {
        found.push(SCANS);
    }
    let Some((_, added)) = part.split_once("ADD ") else {
        return found;
    };
    if is_unnamed(added) {
        found.push(UNNAMED);
    }
    let is_column = added.starts_with("COLUMN ");
    if is_column {
        let default = added.split_once(" DEFAULT ").map(|(_, value)| value);
        if added.contains(" NOT NULL") && default.is_none() {
            found.push(NULLS);
        }
        // A constant is kept in the catalog; so is the moment of the change. Anything else is worked out row by row.
        let calls = default.is_some_and(|value| value.replace("NOW()", "").contains('('));
        if calls || added.contains(" GENERATED ") {
            found.push(REWRITE);
        }
    }
    let checks = added.contains(" CHECK (") || added.contains(" REFERENCES ") || added.contains(" FOREIGN KEY ");
    // A new column without a default is NULL everywhere: there is nothing to read.
    let is_empty_column = is_column && !added.contains(" DEFAULT ");
    if checks && !is_empty_column && !added.contains(" NOT VALID") {
        found.push(UNVALIDATED);
    }
    found
}

fn is_unnamed(column: &str) -> bool {
    let constrains = [
        "PRIMARY KEY",
        "UNIQUE",
        "CHECK (",
        "REFERENCES ",
        "FOREIGN KEY",
        "EXCLUDE ",
    ];
    constrains.iter().any(|words| column.contains(words)) && !column.contains("CONSTRAINT ")
}

fn mistakes(text: &str) -> Vec<&'static str> {
    let each = statements(text);
    let found = each.iter().flat_map(|statement| {
        let mut found = breaks_promises(text, statement);
        found.extend(locks_long(statement));
        found
    });
    found.collect()
}

#[test]
fn migrations_of_tenants_keep_the_rules() {
    let migrations = files("migrations/tenant", "sql");
    assert!(!migrations.is_empty());
    for (name, text) in migrations {
        if !name.ends_with("_baseline.sql") {
            assert_eq!(mistakes(&text), [""; 0], "{name}");
        }
    }
}

/// Those of `control` were released with less strict rules; what follows keeps these.
#[test]
fn migrations_of_control_keep_their_promises() {
    for (name, text) in files("migrations/control", "sql") {
        for statement in statements(&text) {
            assert_eq!(breaks_promises(&text, &statement), [""; 0], "{name}: {statement}");
        }
    }
}

#[test]
fn a_bad_migration_is_refused_with_the_reason() {
    for (sql, reason) in [
        ("DROP TABLE members", CONTRACTING),
        ("ALTER TABLE members\n    DROP COLUMN email", CONTRACTING),
        ("ALTER TABLE members DROP email", CONTRACTING),
        ("ALTER TABLE members RENAME COLUMN email TO mail", CONTRACTING),
        ("ALTER TABLE members RENAME TO people", CONTRACTING),
        ("TRUNCATE members", CONTRACTING),
        ("-- contract:\nDROP TABLE members", CONTRACTING),
        ("ALTER TABLE vms ALTER COLUMN cpu TYPE bigint", TYPE),
        ("alter table vms alter cpu set data type bigint", TYPE),
        ("ALTER TABLE vms ADD COLUMN a text, ALTER b TYPE int", TYPE),
        ("ALTER TABLE members ADD COLUMN nick text NOT NULL", NULLS),
        (
            "ALTER TABLE members ADD COLUMN token uuid DEFAULT gen_random_uuid()",
            REWRITE,
        ),
        (
            "ALTER TABLE members ADD COLUMN at timestamptz NOT NULL DEFAULT clock_timestamp()",
            REWRITE,
        ),
        (
            "ALTER TABLE vms ADD COLUMN size int GENERATED ALWAYS AS (cpu * 2) STORED",
            REWRITE,
        ),
        ("ALTER TABLE vms SET UNLOGGED", REWRITE),
        ("CLUSTER vms USING vms_pkey", REWRITE),
        (
            "ALTER TABLE vms ADD CONSTRAINT vms_cpu_check CHECK (cpu > 1)",
            UNVALIDATED,
        ),
        (
            "ALTER TABLE vms ADD CONSTRAINT vms_x_fkey FOREIGN KEY (id) REFERENCES members (identity_id)",
            UNVALIDATED,
        ),
        (
            "ALTER TABLE vms ADD COLUMN n int DEFAULT 1 CONSTRAINT vms_n_check CHECK (n > 0)",
            UNVALIDATED,
        ),
        ("ALTER TABLE vms ADD CHECK (cpu > 1) NOT VALID", UNNAMED),
        (
            "ALTER TABLE vms ADD COLUMN owner uuid REFERENCES members (identity_id)",
            UNNAMED,
        ),
        ("CREATE TABLE a (id uuid NOT NULL, PRIMARY KEY (id))", UNNAMED),
        ("CREATE TABLE a (id uuid PRIMARY KEY)", UNNAMED),
        (
            "CREATE TABLE a (id uuid, CONSTRAINT a_pkey PRIMARY KEY (id), b text UNIQUE)",
            UNNAMED,
        ),
        ("ALTER TABLE members ALTER COLUMN email SET NOT NULL", SCANS),
        ("CREATE INDEX CONCURRENTLY a_idx ON vms (cpu)", TRANSACTION),
        ("COMMIT; BEGIN", TRANSACTION),
        ("VACUUM vms", TRANSACTION),
        ("CREATE TABLE a AS SELECT * FROM vms", STAR),
        ("INSERT INTO a SELECT v.* FROM vms AS v", STAR),
        ("CREATE TYPE mood AS ENUM ('good')", KIND),
        ("CREATE DOMAIN mail AS text", KIND),
        ("CREATE SEQUENCE a_seq", KIND),
        ("CREATE TABLE a (id bigserial NOT NULL)", KIND),
        ("CREATE TABLE a (id bigint GENERATED ALWAYS AS IDENTITY)", KIND),
    ] {
        assert!(mistakes(sql).contains(&reason), "{sql}: {:?}", mistakes(sql));
    }
}

#[test]
fn a_good_migration_is_let_through() {
    for sql in [
        "-- DROP TABLE would be wrong; SELECT * too.\nALTER TABLE members ADD COLUMN nick text;\n\
         CREATE INDEX members_nick_idx ON members (nick);",
        "ALTER TABLE vms ADD COLUMN note text NOT NULL DEFAULT 'COMMIT; DROP TABLE x', ADD COLUMN at timestamptz DEFAULT now()",
        "ALTER TABLE vms ADD CONSTRAINT vms_note_check CHECK (length(note) < 9) NOT VALID",
        "ALTER TABLE vms VALIDATE CONSTRAINT vms_note_check",
        "ALTER TABLE vms ADD COLUMN type text, ALTER COLUMN type SET DEFAULT 'x', ALTER COLUMN note DROP NOT NULL",
        "ALTER TABLE vms ADD COLUMN owner uuid CONSTRAINT vms_owner_fkey REFERENCES members (identity_id)",
        "CREATE TABLE a (id uuid NOT NULL, n numeric(4, 2), CONSTRAINT a_pkey PRIMARY KEY (id), CONSTRAINT a_n_check CHECK (n > 0))",
        "-- contract: 0.4\nALTER TABLE vms DROP COLUMN note",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN SELECT * INTO x FROM y; COMMIT; END $$",
        "UPDATE vms SET note = 'x' WHERE note IS NULL",
    ] {
        assert_eq!(mistakes(sql), [""; 0], "{sql}");
    }
}
