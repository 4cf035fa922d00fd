"""Filters every page uses: numbers with units, short ids, untrusted text."""

from django import template

register = template.Library()
