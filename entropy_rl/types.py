"""The legend of shape letters, and the one structure that crosses every floor: a rollout.

B  sequences (= P * G)     P  prompts              G  samples of one prompt
T  response positions      S  prompt positions     D  hidden size
N  query heads             K  key-value heads      H  size of a head
F  hidden size of the MLP  V  vocabulary           L  layers            M  micro-batches
R  packed rows             C  slots of a row

One alignment, never shifted again: index t belongs to the token BEING PREDICTED. `logp_BT[b, t]` is the
log-probability of response token t of sequence b, given its prompt and its tokens before t.

Who computed a log-probability is in its name: `behavior_logp` is of the distribution the sampler really
drew from (after top-k, top-p and min_new_tokens), `old_logp` is the learner's before the updates of a
rollout, `logp` the current policy's, `ref_logp` a frozen reference's. All of them are of the
temperature-scaled model.
"""

from dataclasses import dataclass, fields

import jax
from jaxtyping import Array, Bool, Float, Int32


def tree_of_arrays(cls: type) -> type:
    """Registers a dataclass as a tree whose leaves are its fields, for `jax`.

    Unlike `jax.tree_util.register_dataclass` it lets trees of this form hold anything - shapes, shardings,
    what a compiler tells of each array - also where the types of the fields are checked at run time.
    """
    names = tuple(field.name for field in fields(cls))

    def with_keys(tree):
        return [(jax.tree_util.GetAttrKey(name), getattr(tree, name)) for name in names], None

    def flatten(tree):
        return [getattr(tree, name) for name in names], None

    def unflatten(_, leaves):
        tree = object.__new__(cls)
        for name, leaf in zip(names, leaves, strict=True):
            object.__setattr__(tree, name, leaf)
        return tree

    jax.tree_util.register_pytree_with_keys(cls, with_keys, unflatten, flatten)
    return cls


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class Rollout:
    """G sampled responses to each of P prompts.

    Prompts are padded on the left, so that every response begins at the same position; responses are
    padded on the right. Token ids are those the sampler drew: text is never tokenised again. Cut into
    micro-batches it has one more axis in front.
    """

    prompt_ids_PS: Int32[Array, "*parts P S"]
    prompt_mask_PS: Bool[Array, "*parts P S"]
    prompt_id_P: Int32[Array, "*parts P"]
    """Identity of the prompt in its dataset; with the sample's number it is the identity of a sequence."""
    response_ids_PGT: Int32[Array, "*parts P G T"]
    response_mask_PGT: Bool[Array, "*parts P G T"]
    """True up to and including the first stop token."""
    behavior_logp_PGT: Float[Array, "*parts P G T"]
    logp_PGT: Float[Array, "*parts P G T"]
