"""Published scores of the paper, as the parts of a report that stand beside measured ones."""

from __future__ import annotations

from recoseg.reporting.fields import Fraction, Number, ReportPart, Text


class PublishedScores(ReportPart):
    """Published scores of a system that was measured here, as fractions."""

    accuracy: Fraction | None = None
    miou: Fraction | None = None


class PublishedAblation(ReportPart):
    """Published scores of one combination of components, as fractions."""

    protocol: Text = ""
    accuracy: Fraction | None = None
    miou: Fraction | None = None
    footnote: Text = ""


class PublishedRow(ReportPart):
    """A published row of a table; per cent, None where it has none."""

    system: Text = ""
    group: Text = ""
    accuracy: Number | None = None
    miou: Number | None = None
    footnote: Text = ""
