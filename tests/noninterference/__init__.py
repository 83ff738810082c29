"""Non-interference: what a role is not shown changes no answer.

A *world* is a pair of datasets that show the role the same resources in the same order and differ
in one hidden thing. Every request is made in both; the answers must be equal byte by byte, apart
from Date, request id and the values of page tokens. A pair of answers counts only if what the
upstream answered differs between the two.
"""
