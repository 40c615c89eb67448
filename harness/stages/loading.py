"""Loading models and tokenizers for a stage, and writing the artifact: always the ecosystem's own format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.errors import UsageError
from harness.inputs.declared_families import KEY
from harness.inputs.encoder_folder import check_encoder_folder, read_config
from harness.inputs.family import Family
from harness.inputs.models import BaseModel, check_unchanged
from harness.inputs.vocabulary import SPECIAL_TOKENS, check_vocabulary, vocabulary_problems
from harness.inputs.weight_files import INT8_FILE
from harness.stages.context import StageContext
from harness.stages.task_heads import head_of
from harness.synthetic.weights import write_encoder
from harness.tasks import Task

THE_MODEL = "the model to load"
# Nothing is looked for on the hub, and no code that a folder brings is run or asked about.
_FROM_THE_FOLDER: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def quiet() -> None:
    """No progress bars and load reports of the libraries in a worker's log."""
    import datasets

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()


def base_model_folder(context: StageContext) -> Path:
    """The folder of the base model a stage names. Raises ValueError when it is not the one the plan was made with."""
    model = context.sources.models[context.parameters["model"]]
    for what, found in (("model", model.weights), ("tokenizer", model.tokenizer)):
        wanted = context.spec.inputs.get(what, found)
        if found != wanted:
            raise ValueError(
                f"model {model.alias!r} in {model.folder}: its {what} has content id {found[:12]}.., "
                f"the plan wants {wanted[:12]}.. Put the files back, or plan again."
            )
    try:
        check_unchanged(model, context.sources.hashes)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return folder_of(model, context)


def folder_of(model: BaseModel, context: StageContext) -> Path:
    """The model's folder; a generated one is written into the stage's own. Raises ValueError where there is none."""
    if model.generated is not None:
        return write_encoder(model.generated, context.checkpoints / f"encoder-{model.generated}")
    if model.folder is None:
        raise ValueError(f"model {model.alias!r} is not on this machine. Run harness fetch, or name a folder.")
    return model.folder


def start_folder(context: StageContext) -> Path:
    """What training starts from: the parent "model" where the stage has one, else the base model."""
    return context.parent_artifacts["model"] if "model" in context.parent_artifacts else base_model_folder(context)


def family_of(folder: Path) -> Family:
    return read_config(THE_MODEL, folder)[1]


def library_config(folder: Path) -> Any:
    """The library's configuration of a folder's model, with the declaration of its family where it needs one."""
    config = transformers.AutoConfig.from_pretrained(folder, **_FROM_THE_FOLDER)
    _declare(config, folder)
    return config


def _declare(config: Any, folder: Path) -> None:
    """So that the model's family can be told from it, and from whatever is saved with it."""
    if declared := read_config(THE_MODEL, folder)[0].get(KEY):
        config.update({KEY: declared})


def load_tokenizer(folder: Path) -> Any:
    """Raises ValueError when its files cannot be read, or are not those of the model beside it."""
    if not folder.is_dir():  # the library would take the path for the name of a model on the hub
        raise ValueError(f"the folder {folder} is gone. Bring it back.")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **_FROM_THE_FOLDER)
    except Exception as error:  # the library raises errors of many kinds, bare Exception among them
        _check_configuration(folder)  # which the library reads for the tokenizer's class
        raise ValueError(
            f"the tokenizer in {folder} cannot be read ({type(error).__name__}: {one_line(error)}). Expected the "
            "model's own tokenizer.json or vocab.txt: copy them again."
        ) from error
    if (folder / "config.json").is_file():
        embeddings = transformers.AutoConfig.from_pretrained(folder, **_FROM_THE_FOLDER).vocab_size
        try:
            special_tokens = family_of(folder).special_tokens
            # The library would add a special token that is not there.
            check_vocabulary(THE_MODEL, folder, embeddings, special_tokens)
        except UsageError as error:
            raise ValueError(str(error)) from None
        special = {role: getattr(tokenizer, role) for role in SPECIAL_TOKENS}
        if problems := list(vocabulary_problems(folder, tokenizer.get_vocab(), special, embeddings, special_tokens)):
            raise ValueError("\n".join(problems))
    return tokenizer


def _check_configuration(folder: Path) -> None:
    """Raises ValueError where the library refuses what config.json says."""
    if not (folder / "config.json").is_file():
        return
    try:
        transformers.AutoConfig.from_pretrained(folder, **_FROM_THE_FOLDER)
    except Exception as error:
        raise ValueError(
            f"{folder / 'config.json'} cannot be used ({type(error).__name__}: {one_line(error)}). Expected the "
            "configuration of a model in the hub's layout."
        ) from error


def load_for_pretraining(folder: Path, *, seed: int, attention: str, new_head: bool) -> Any:
    """The encoder with masked-LM and, where its family has one, next-sentence head.

    new_head: those the folder lacks are drawn with `seed`.
    """
    both, alone = transformers.AutoModelForPreTraining, transformers.AutoModelForMaskedLM
    model = _load(lambda family: both if family.next_sentence else alone, folder, seed, attention, new_head, {})
    model.tie_weights()
    return model


def load_for_task(folder: Path, task: Task, *, seed: int, attention: str, new_head: bool) -> Any:
    """The encoder with the task's head. new_head: a head that the folder lacks is drawn with `seed`."""
    head = head_of(task)
    return _load(lambda family: head.model_class(), folder, seed, attention, new_head, head.model_options(task))


def _load(
    loader_of: Callable[[Family], Any],
    folder: Path,
    seed: int,
    attention: str,
    new_head: bool,
    options: dict[str, Any],
) -> Any:
    """Raises ValueError when weights cannot be read, are of another shape than config.json says, or are missing; and
    for an encoder's that are integers, or that it has no place for.

    The library fills any missing weight silently and leaves out what it has no place for: a file whose keys do not fit
    would train a random encoder, or a shorter one. Only the weights of a head may be drawn at random, with `new_head`.
    """
    family = _checked_family(folder)
    transformers.set_seed(seed)
    try:
        model, info = loader_of(family).from_pretrained(
            folder,
            attn_implementation=attention,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
            **_FROM_THE_FOLDER,
            **options,
        )
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {folder} cannot be read ({one_line(error)}): cut off, or no safetensors file. Copy "
            "model.safetensors again."
        ) from error
    _declare(model.config, folder)
    if info["mismatched_keys"]:
        name, stored, wanted = sorted(info["mismatched_keys"])[0]
        raise ValueError(
            f"the weights in {folder} do not fit its config.json: {name} is {list(stored)} in the file and "
            f"{list(wanted)} by the configuration ({len(info['mismatched_keys'])} such). Expected both of one model: "
            "copy them again."
        )
    lacking = sorted(name for name in info["missing_keys"] if not (new_head and family.may_be_new(name)))
    if lacking:
        raise ValueError(
            f"the weights in {folder} lack {len(lacking)} of the model's parameters ({', '.join(lacking[:3])} ..). "
            "Expected the hub's names. If it was saved during pruning, its masks were never made permanent."
        )
    endless = [name for name, tensor in model.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if endless:
        raise ValueError(
            f"the weights in {folder} are not finite: {', '.join(endless[:3])}{' ..' if endless[3:] else ''}. The "
            "model had diverged when it was saved."
        )
    return model


def _checked_family(folder: Path) -> Family:
    """The folder's family, once its encoder and its tokenizer are found to be those that config.json describes."""
    try:
        return check_encoder_folder(THE_MODEL, folder, needs_tokenizer=False).family
    except UsageError as error:
        raise ValueError(str(error)) from None


def save_artifact(folder: Path, model: nn.Module, tokenizer: Any, int8: Any = None) -> None:
    """Model and tokenizer as AutoModel loads them; int8 codes, scales and ranges beside them where there are any."""
    model.save_pretrained(folder)  # type: ignore[operator]
    tokenizer.save_pretrained(folder)
    if int8 is not None:
        save_file({name: tensor.contiguous() for name, tensor in int8.items()}, folder / INT8_FILE)


def load_int8(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / INT8_FILE)


def one_line(error: Exception) -> str:
    """The first line of an error's message, without its full stop; the error's type where there is no message."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
