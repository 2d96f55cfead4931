"""The curves of a run as TensorBoard reads them, for `tests/it/tensorboard.rs`.

    python tensorboard_scalars.py RUN

Prints {tag: [[step, value], …]}.
"""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
events.Reload()
curves = {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
print(json.dumps(curves))
