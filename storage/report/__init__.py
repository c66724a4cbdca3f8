"""One self-contained HTML file about a run, for a person who was not there.

    >>> write_report(home, run_id)
    PosixPath('.starloop/reports/1f8e….html')

`arms` reads what happened, `sections`, `strata` and `curve` make charts and sentences of it, `examples` chooses what to read,
`headline` and `commands` say what it comes to and how to go on; `page.html.jinja` puts it in order.
"""

from storage.report.page import render_report, write_report

__all__ = ["render_report", "write_report"]
