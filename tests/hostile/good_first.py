"""Nothing hostile: measured before all others."""

from small import Small


def good_first() -> Small:
    return Small()
