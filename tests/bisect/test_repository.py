# SPDX-License-Identifier: GPL-2.0
"""What `git bisect` prints is understood."""

from lib.bisect.repository import progress

COMMIT, OTHER = "a" * 40, "b" * 40


def test_steps_left():
    found = progress(
        f"Bisecting: 10 revisions left to test after this (roughly 4 steps)\n[{COMMIT}]"
    )
    assert (found.over, found.steps_left) == (False, 4)


def test_first_bad_commit():
    found = progress(f"{COMMIT} is the first bad commit\ncommit {COMMIT}\nAuthor: A\n")
    assert (found.over, found.first_bad) == (True, COMMIT)


def test_only_skipped_commits_left():
    found = progress(
        "There are only 'skip'ped commits left to test.\n"
        f"The first bad commit could be any of:\n{COMMIT}\n{OTHER}\nWe cannot bisect more!\n"
    )
    assert (found.over, found.candidates) == (True, (COMMIT, OTHER))


def test_the_last_step_is_not_the_end():
    assert not progress("Bisecting: 0 revisions left to test after this (roughly 0 steps)").over
