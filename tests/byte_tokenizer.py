"""A tokenizer of bytes with a chat template, made on the spot."""

from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from entropy_rl.data.tokenizers import Tokenizer

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<model>{% endif %}"
)


def byte_tokenizer() -> Tokenizer:
    """A token for each byte, so that most tokens of a text are parts of characters; 256 ends, 257 pads."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate(alphabet)} | {"<end>": 256, "<pad>": 257}
    fast = FastTokenizer(models.BPE(vocab=vocabulary, merges=[]))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    backend = PreTrainedTokenizerFast(
        tokenizer_object=fast, eos_token="<end>", pad_token="<pad>", clean_up_tokenization_spaces=False
    )
    backend.chat_template = TEMPLATE
    return Tokenizer(backend, (256,))
