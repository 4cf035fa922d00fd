"""The database itself refuses to change or delete a decision.

SQLite loses triggers when Django rebuilds a table: a later migration that alters `review_decision` ends with
`RunPython(forbid, allow)` again (tests/review/test_finality.py fails when it does not).
"""

from django.db import migrations

CHANGED = "a decision is never changed: undo it with a decision of its own"
DELETED = "a decision is never deleted: undo it with a decision of its own"

SQLITE = [
    f"""CREATE TRIGGER review_decision_never_changed BEFORE UPDATE ON review_decision
        BEGIN SELECT RAISE(ABORT, '{CHANGED}'); END""",
    f"""CREATE TRIGGER review_decision_never_deleted BEFORE DELETE ON review_decision
        BEGIN SELECT RAISE(ABORT, '{DELETED}'); END""",
]
SQLITE_DOWN = [
    "DROP TRIGGER IF EXISTS review_decision_never_changed",
    "DROP TRIGGER IF EXISTS review_decision_never_deleted",
]
POSTGRESQL = [
    f"""CREATE FUNCTION review_decision_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                RAISE EXCEPTION '{CHANGED}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RAISE EXCEPTION '{DELETED}' USING ERRCODE = 'integrity_constraint_violation';
        END $$""",
    """CREATE TRIGGER review_decision_is_final BEFORE UPDATE OR DELETE ON review_decision
        FOR EACH ROW EXECUTE FUNCTION review_decision_is_final()""",
]
POSTGRESQL_DOWN = [
    "DROP TRIGGER IF EXISTS review_decision_is_final ON review_decision",
    "DROP FUNCTION IF EXISTS review_decision_is_final()",
]


def forbid(apps, schema_editor):
    run(schema_editor, {"sqlite": SQLITE, "postgresql": POSTGRESQL})


def allow(apps, schema_editor):
    run(schema_editor, {"sqlite": SQLITE_DOWN, "postgresql": POSTGRESQL_DOWN})


def run(schema_editor, statements):
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):

    dependencies = [
        ('review', '0001_initial'),
    ]

    operations = [
        migrations.RunPython(forbid, allow),
    ]
