"""cgcli: prompts become programs, with quantized CodeGen models on the user's own machine.

Nothing is imported here: `cgcli --version` must cost no more than the interpreter itself.
"""

__version__ = "0.1.0"
