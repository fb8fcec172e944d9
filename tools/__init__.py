"""Single-purpose tools that people really need, each with its effect declared.

A tool is the unit of permission: if two uses deserve two answers, they are two tools.
Every file offers a factory for your own settings and the same tools bound to environment
variables; a tool that is not configured refuses, and says what to set.
"""
