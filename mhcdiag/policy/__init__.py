"""Policies: one small file that says what is checked, against which limits, and what is known already.

Nothing is imported here: every command looks for a policy, and only one that has found it needs pydantic.
"""
