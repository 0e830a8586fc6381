"""`dlq list` and `dlq retry`: look at dead letters, and send them again.

letter.py (one dead letter) · letter_log.py (reads them) · selection.py (which are meant) · ledger.py (which were sent
again) · retry_group.py (where that is kept) · plan.py (what a retry would do) · retry.py (does it) · printing.py ·
commands.py
"""
