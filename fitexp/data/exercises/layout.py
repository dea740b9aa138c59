"""Names within prepared events that readers of them share with the protocol."""

EVERYONE = "everyone"  # the fold that leaves nobody out, which answers people
TIMED = "events behind another of their user, both timed"  # among the counts of a report
TIES = "of these at its time"
