"""Our conditions beside Google's CEL: the same random expressions to both.

`python -m cel_diff N --seed S` in the folder tests; what may differ is in known_differences.py.
"""
