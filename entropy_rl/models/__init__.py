"""Qwen2 and dense Qwen3 in Flax NNX behind one seam, `Policy`: elsewhere a model is a plain pytree of arrays.

config.py      the architecture, every published size, Hugging Face's config.json
parameters.py  one table: shape, logical axes, initialiser and Hugging Face name of every parameter
attention.py   the arithmetic of attention and rotary embedding, pure functions
training_attention.py  attention of whole sequences: XLA, splash attention (TPU) or cuDNN, behind one function
rematerialization.py   what the backward pass keeps of a layer, by name
cache.py       keys and values of prompts and of tokens generated so far
qwen2.py       the NNX modules
policy.py      pure functions of (parameters, tokens): the seam
hf.py          Hugging Face directories, both directions
"""
