"""The database itself refuses a move that is no edge of `lifecycle.NEXT`.

The edges stand here as they were when this was written; a test compares them with the table. On SQLite a later
migration that rebuilds evolution_variant drops its triggers: it has to call `install` again.
"""

from django.db import migrations

EDGES = {
    "drafted": ["screened", "duplicate", "stillborn", "cancelled"],
    "screened": ["checked", "stillborn", "cancelled"],
    "checked": ["in_review", "approved", "cancelled"],
    "in_review": ["approved", "vetoed", "superseded", "cancelled"],
    "approved": ["training", "in_review", "cancelled"],
    "training": ["measured", "failed", "rejected", "approved", "cancelled"],
    "measured": ["survived", "culled"],
    "survived": ["culled"],
    "culled": ["survived"],
    "vetoed": ["approved"],
    "cancelled": ["approved"],
}

NAME = "evolution_variant_moves"
MESSAGE = "a variant cannot make this move: use lifecycle.advance"


def _legal():
    return ", ".join(f"'{old}>{new}'" for old, every in EDGES.items() for new in every)


def install(apps, schema_editor):
    illegal = f"OLD.status <> NEW.status AND (OLD.status || '>' || NEW.status) NOT IN ({_legal()})"
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(
            f"CREATE TRIGGER {NAME} BEFORE UPDATE OF status ON evolution_variant FOR EACH ROW WHEN {illegal} "
            f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
        )
    elif schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            f"CREATE FUNCTION {NAME}() RETURNS trigger LANGUAGE plpgsql AS $$ "
            f"BEGIN RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'check_violation'; END $$"
        )
        schema_editor.execute(
            f"CREATE TRIGGER {NAME} BEFORE UPDATE OF status ON evolution_variant FOR EACH ROW WHEN ({illegal}) "
            f"EXECUTE FUNCTION {NAME}()"
        )


def remove(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(f"DROP TRIGGER {NAME}")
    elif schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP TRIGGER {NAME} ON evolution_variant")
        schema_editor.execute(f"DROP FUNCTION {NAME}()")


class Migration(migrations.Migration):
    dependencies = [("evolution", "0001_initial")]
    operations = [migrations.RunPython(install, remove)]
