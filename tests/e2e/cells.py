"""Cells of notebooks that several tests begin with."""

from tests.small import CODE

DEFAULT = """
import time
import patchwidget as pw
model = pw.load()
pair = pw.PromptPair(
    "When John and Mary went to the store, John gave a drink to",
    "When John and Mary went to the store, Mary gave a drink to",
    answer=" Mary", distractor=" John",
)
"""

SMALL = f"import time\n{CODE}"

# prompts that differ in their first token, so that no cell can be skipped, and long: a sweep of many seconds
LONG = """
story = " and then they all went on a long walk through the old town by the sea" * 8
long = pw.PromptPair("Mary" + story, "John" + story, answer=" Mary", distractor=" John")
lab = pw.PatchLab(model, long)
lab
"""

# keeps the kernel busy until it is interrupted, or for a minute where a test has failed; what it prints says that it is
BUSY = """
import ipykernel
print(ipykernel.__version__, flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    pass
"""

LAB = "lab = pw.PatchLab(model, pair)\nlab"
