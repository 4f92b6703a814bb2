"""Tokenizers: the ones of Hugging Face directories, and a built-in one that spells countdown by character."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

COUNTDOWN_CHARACTERS = "0123456789+-*()=,: "


@dataclass(frozen=True)
class ChatMessage:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True)
class Tokenizer:
    """What the product needs of a tokenizer: text to ids and back, and which ids pad and stop."""

    backend: PreTrainedTokenizerBase
    stop_ids: tuple[int, ...]
    """A response ends with the first of these."""

    @property
    def pad_id(self) -> int:
        pad_id = self.backend.pad_token_id
        return self.stop_ids[0] if pad_id is None else pad_id

    @property
    def vocab_size(self) -> int:
        """Ids lie below this; a model's embedding may have more rows."""
        return len(self.backend)

    def encode(self, text: str) -> list[int]:
        """Ids of plain text: no template, no special tokens added."""
        return self.backend.encode(text, add_special_tokens=False)

    def encode_chat(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Ids of a conversation with the model's turn opened; without a template, its plain text."""
        return self.encode(self.render_chat(messages))

    def render_chat(self, messages: Sequence[ChatMessage]) -> str:
        if not self.backend.chat_template:
            return "\n".join(message.content for message in messages)
        turns = [{"role": message.role, "content": message.content} for message in messages]
        return self.backend.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens and ids without a token included.

        A policy can draw ids that the tokenizer does not know: an embedding may have more rows than there are
        tokens. They show as the replacement character: were they hidden, a text would earn rewards that it
        does not deserve.
        """
        pieces, known = [], []
        for token_id in ids:
            if token_id < self.vocab_size:
                known.append(token_id)
                continue
            pieces.append(self.backend.decode(known, skip_special_tokens=False) if known else "")
            pieces.append("\N{REPLACEMENT CHARACTER}")
            known = []
        pieces.append(self.backend.decode(known, skip_special_tokens=False) if known else "")
        return "".join(pieces)

    def save(self, directory: Path) -> None:
        """Writes files that AutoTokenizer reads."""
        self.backend.save_pretrained(directory)


def load_tokenizer(directory: Path) -> Tokenizer:
    """Reads the tokenizer of a Hugging Face directory; nothing is downloaded and no code of it is run.

    Stop ids are the tokenizer's end of sequence, then those of generation_config.json where there is one.
    Raises ValueError when the directory holds no tokenizer or no end of sequence is known.
    """
    directory = Path(directory)
    if not (directory / "tokenizer.json").is_file():
        raise ValueError(
            f"a tokenizer directory must hold tokenizer.json; {directory} does not; give the folder of a "
            "Hugging Face policy or tokenizer"
        )
    backend = AutoTokenizer.from_pretrained(
        directory,
        local_files_only=True,
        trust_remote_code=False,
        clean_up_tokenization_spaces=False,  # what is judged and shown is what was sampled, "a ." and all
    )
    candidates = [backend.eos_token_id, *_generation_stop_ids(directory / "generation_config.json")]
    stop_ids = tuple(dict.fromkeys(stop_id for stop_id in candidates if stop_id is not None))
    if not stop_ids:
        raise ValueError(
            f"a tokenizer must name its end of sequence; {directory} names none; set eos_token in its "
            "tokenizer_config.json"
        )
    return Tokenizer(backend, stop_ids)


def _generation_stop_ids(path: Path) -> list[int]:
    if not path.is_file():
        return []
    stop_ids = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id", [])
    return stop_ids if isinstance(stop_ids, list) else [stop_ids]


def countdown_tokenizer() -> Tokenizer:
    """One token for each character that countdown needs; ids 0, 1, 2 are padding, end and unknown."""
    pad, end, unknown = "<pad>", "<end>", "<unknown>"
    vocabulary = {token: i for i, token in enumerate([pad, end, unknown, *COUNTDOWN_CHARACTERS])}
    fast = FastTokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    fast.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    fast.decoder = decoders.Fuse()
    backend = PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token=pad,
        eos_token=end,
        unk_token=unknown,
        clean_up_tokenization_spaces=False,
    )
    return Tokenizer(backend, (vocabulary[end],))
