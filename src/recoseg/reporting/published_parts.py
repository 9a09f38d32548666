"""What the paper printed, as parts of a report that are shown beside what was measured."""

from __future__ import annotations

from recoseg.reporting.fields import Fraction, Number, ReportPart, Text


class PublishedScores(ReportPart):
    """What the paper printed of a system that was measured here, as fractions."""

    accuracy: Fraction | None = None
    miou: Fraction | None = None


class PublishedAblation(ReportPart):
    """What the paper printed of one combination of components, as fractions."""

    protocol: Text = ""
    accuracy: Fraction | None = None
    miou: Fraction | None = None
    footnote: Text = ""


class PublishedRow(ReportPart):
    """One row that the paper printed; per cent, None where it printed none."""

    system: Text = ""
    group: Text = ""
    accuracy: Number | None = None
    miou: Number | None = None
    footnote: Text = ""
