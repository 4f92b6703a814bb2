"""A run small enough to plan in a test, of the proportions that the TPU kernels are made for."""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import BatchConfig, PolicyConfig, RunConfig
from entropy_rl.data.prompt_files import PromptFile
from entropy_rl.data.schemas import GSM8K
from entropy_rl.data.tasks import PromptFileTask
from entropy_rl.models.config import Qwen2Config
from entropy_rl.objectives import KLCov
from entropy_rl.parallelism import MeshConfig
from entropy_rl.plan.job import Job
from entropy_rl.plan.lengths import Lengths
from entropy_rl.plan.topology import Topology
from entropy_rl.training.layout import Packed

WIDE = Qwen2Config(
    vocab_size=1_000,
    num_layers=2,
    hidden_size=256,
    intermediate_size=384,
    num_heads=4,
    num_kv_heads=2,
    head_dim=64,
    tie_embeddings=True,
)
CONFIG = RunConfig(
    name="small",
    policy=PolicyConfig(architecture=WIDE, compute_dtype="bfloat16", rematerialize="layer"),
    task=PromptFileTask(
        train=PromptFile(path=Path("absent.jsonl"), schema=GSM8K()),
        heldout=PromptFile(path=Path("absent.jsonl"), schema=GSM8K()),
        max_prompt_tokens=64,
        max_response_tokens=192,
    ),
    objective=KLCov(fraction=0.1),
    batch=BatchConfig(
        prompts_per_step=16,
        samples_per_prompt=3,
        prompts_per_update=8,
        layout=Packed(tokens_per_device=512, num_smaller_shapes=1),
    ),
    mesh=MeshConfig(fsdp=2, tensor=2),
    num_steps=5,
)


def small_job(topology: str = "v5e:2x2", config: RunConfig = CONFIG, **batch) -> Job:
    """The job of that run, with these settings of its batch."""
    return Job(
        config=replace(config, batch=replace(config.batch, **batch)),
        topology=Topology.of(topology),
        prompts=Lengths(mean=20.0, longest=64),
        responses=Lengths(mean=50.0, longest=192),
    )
