"""Rebuild state and output from the input topic.

  1. survey: nobody works; whom the output topic knows (up to its end now), every reset on the repartition topic, where
     each partition begins; the operator sees it and agrees
  2. rewind: write every reset again, and null for every session id on the session topic, acknowledged; then one
     commit: by_user starts empty at the end that the repartition topic had before, by_session runs from the start
  3. work as a member like every other until the group has caught up with the ends of the survey
  4. have every user that the output topic knew before, and that was not published since, published as they stand now:
     as null

Each step may be done twice, so whoever is interrupted begins again with the first (worker/DESIGN.md).
"""
