"""Rows as JSON and back, field by field: what a model gains tomorrow is remembered without a change here."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import ForeignKey, Model

Row = TypeVar("Row", bound=Model)


def record(row: Model, *, leave: Collection[str] = ()) -> dict[str, Any]:
    """Every field of `row` but its key, its relations and those in `leave`; times as ISO 8601."""
    return {
        field.name: _plain(getattr(row, field.attname))
        for field in row._meta.concrete_fields
        if not field.primary_key and not isinstance(field, ForeignKey) and field.name not in leave
    }


def insert(row: Row) -> Row:
    """Insert `row` as it is: times that are set on saving keep the value they were given."""
    row.save_base(raw=True, force_insert=True)
    return row


def values(model: type[Model], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `model` from what `record` gave; what the model does not know is left out."""
    known = {field.name: field for field in model._meta.concrete_fields if not isinstance(field, ForeignKey)}
    return {name: known[name].to_python(value) for name, value in recorded.items() if name in known}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
