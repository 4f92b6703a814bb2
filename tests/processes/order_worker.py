"""A process that draws batches of a mixture, alone or as one of several, and writes down what it got.

python -m tests.processes.order_worker FOLDER NAME [--state FILE] writes FOLDER/NAME.PROCESS.json.
"""

import argparse
import json
from itertools import islice
from pathlib import Path

import jax

from entropy_rl.data.pipeline import PromptPipeline
from entropy_rl.data.prompt_files import Mixture, Part, PromptFile, read_prompts
from entropy_rl.data.schemas import Columns
from entropy_rl.data.tokenizers import countdown_tokenizer
from entropy_rl.parallelism import MeshConfig, Processes, batch_sharding, held_rows, joined

PROMPTS_PER_STEP = 12
NUM_BATCHES = 40


def draw(folder: Path, state: dict | None) -> dict:
    """Every batch's ids and the rows encoded here; too long are the prompts of five digits."""
    mixture = Mixture(
        parts=(
            Part(source=PromptFile(path=folder / "many.jsonl", schema=Columns()), weight=0.7),
            Part(source=PromptFile(path=folder / "few.jsonl", schema=Columns()), weight=0.3),
        )
    )
    placement = batch_sharding(MeshConfig(data=jax.device_count()).build())
    pipeline = PromptPipeline(
        read_prompts(mixture).prompts,
        countdown_tokenizer(),
        prompts_per_batch=PROMPTS_PER_STEP,
        max_prompt_tokens=4,
        seed=5,
        rows=held_rows(placement, PROMPTS_PER_STEP),
        weights=[part.weight for part in mixture.parts],
    )
    if state is not None:
        pipeline.set_state(state)
    batches = list(islice(pipeline, NUM_BATCHES))
    return {
        "ids": [batch.prompt_id_P.tolist() for batch in batches],
        "encoded": [batch.prompt_mask_PS.any(axis=1).tolist() for batch in batches],
        "num_too_long": pipeline.num_too_long,
        "state": pipeline.get_state(),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--state", type=Path)
    parser.add_argument("--coordinator")
    parser.add_argument("--num-processes", type=int)
    parser.add_argument("--process-id", type=int)
    given = parser.parse_args()
    processes = Processes(
        coordinator=given.coordinator, num_processes=given.num_processes, process_id=given.process_id
    )
    with joined(processes):
        state = given.state and json.loads(given.state.read_text())["state"]
        drawn = draw(given.folder, state)
        (given.folder / f"{given.name}.{jax.process_index()}.json").write_text(json.dumps(drawn))


if __name__ == "__main__":
    main()
