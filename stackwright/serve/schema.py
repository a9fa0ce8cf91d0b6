"""What requests may hold: fields, types and bounds. Anything else is refused with the field, the value and the rule.

Names and meanings are those of OpenAI's completions, of llama.cpp's `/infill`, and of Mistral's fill-in-the-middle.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from stackwright.generate.sampling import SamplingSettings

MOST_CHOICES = 8
MOST_COMPLETIONS = 16
"""Choices of one prompt, and completions that one request may ask for."""

MOST_STOPS = 4
MOST_TEXT = 400_000
"""Characters of one text; a body has fewer than a megabyte anyway."""


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"half of a surrogate pair at character {error.start} is no text") from error
    return text


def _false(value: bool) -> bool:
    if value:
        raise ValueError("only false is taken: the prompt is not repeated")
    return value


Text = Annotated[str, Field(max_length=MOST_TEXT), AfterValidator(_encodable)]
ShortText = Annotated[str, Field(max_length=1_000), AfterValidator(_encodable)]
StopText = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_encodable)]
Stops = StopText | Annotated[list[StopText], Field(max_length=MOST_STOPS)] | None
EditorStops = StopText | Annotated[list[StopText], Field(max_length=32)] | None  # editors send the beginnings of definitions
Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=MOST_TEXT)]
Temperature = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
NewTokens = Annotated[int, Field(ge=1, le=1_000_000)]


class Body(BaseModel):
    """A request without unknown fields, and without numbers as texts."""

    model_config = ConfigDict(extra="forbid", strict=True)


class StreamOptions(Body):
    include_usage: bool = False


class CompletionBody(Body):
    """`POST /v1/completions`."""

    model: ShortText | None = None
    prompt: (
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=MOST_COMPLETIONS)]
        | Ids
        | Annotated[list[Ids], Field(min_length=1, max_length=MOST_COMPLETIONS)]
    ) = Field("", description="Text to continue, or token ids; several are answered in one response.")
    suffix: Text | None = Field(None, description="Text after the gap: the model fills in between.")
    max_tokens: NewTokens | None = Field(16, description="The context may end a completion earlier.")
    temperature: Temperature | None = Field(1.0, description="0 takes the likeliest token.")
    top_p: Share | None = 1.0
    top_k: Annotated[int, Field(ge=1)] | None = Field(None, description="Not in OpenAI's interface.")
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = 1
    best_of: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = Field(None, description="Must be n.")
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: Annotated[bool, AfterValidator(_false)] | None = False
    stop: Stops = None
    seed: Seed | None = Field(
        None, description="Choice i of a prompt is drawn with seed + i. Drawn by the server if left out."
    )
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = Field(0, description="Only 0.")
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = Field(0, description="Only 0.")
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = Field(None, description="Only empty.")
    truncate_prompt_tokens: Annotated[int, Field(ge=-1, le=-1)] | None = Field(
        None, description="-1 keeps of a prompt that is too long what is next to the gap. Not in OpenAI's interface."
    )
    user: ShortText | None = None

    @model_validator(mode="after")
    def _fits(self) -> CompletionBody:
        if self.best_of is not None and self.best_of != self.num_choices:
            raise ValueError(
                f"best_of is {self.best_of} and n is {self.num_choices}: give the same number, or leave best_of out"
            )
        if self.num_choices * len(self.prompts) > MOST_COMPLETIONS:
            raise ValueError(
                f"{len(self.prompts)} prompts with n {self.num_choices} are more than {MOST_COMPLETIONS} completions: "
                "ask for fewer"
            )
        if self.suffix is not None and any(not isinstance(prompt, str) for prompt in self.prompts):
            raise ValueError("a suffix goes with a prompt of text: give the prompt as text")
        return self

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        prompt: Any = self.prompt
        return prompt if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else [prompt]

    @property
    def num_choices(self) -> int:
        return self.n or 1

    def settings(self, seed: int) -> SamplingSettings:
        return _settings(self.max_tokens or 16, self.temperature, 1.0, self.top_p, self.top_k, seed, self.stop)


class FimBody(Body):
    """`POST /v1/fim/completions`, Mistral's: the answer has the shape of a chat. Other fields change nothing."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: ShortText | None = None
    prompt: Text
    suffix: Text | None = None
    max_tokens: NewTokens | None = None
    min_tokens: Annotated[int, Field(ge=0, le=0)] | None = Field(None, description="Only 0.")
    temperature: Temperature | None = None
    top_p: Share | None = 1.0
    stop: EditorStops = None
    stream: bool | None = False
    random_seed: Seed | None = None
    seed: Seed | None = None

    def settings(self, seed: int) -> SamplingSettings:
        return _settings(self.max_tokens or _INFILL_TOKENS, self.temperature, 0.0, self.top_p, None, seed, self.stop)


class ExtraInput(Body):
    """A chunk of another file."""

    model_config = ConfigDict(extra="ignore", strict=True)

    text: Text
    filename: ShortText | None = None


class InfillBody(Body):
    """`POST /infill`, llama.cpp's. Fields of its sampling that we do not have are taken and change nothing."""

    model_config = ConfigDict(extra="ignore", strict=True)

    input_prefix: Text = ""
    input_suffix: Text = ""
    input_extra: Annotated[list[ExtraInput], Field(max_length=256)] | None = None
    prompt: Text | None = Field(None, description="What was typed already: stands between the prefix and the gap.")
    n_predict: Annotated[int, Field(ge=-1, le=1_000_000)] | None = Field(
        None, description="-1: no limit but the context. 0: read the prompt, so that the next request is quick."
    )
    n_cmpl: Annotated[int, Field(ge=1, le=1)] | None = Field(None, description="Only 1.")
    temperature: Annotated[float, Field(ge=-1, le=10, allow_inf_nan=False)] | None = 0.0
    top_k: int | None = Field(None, description="0 or less: all tokens.")
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = 1.0
    seed: Seed | None = None
    stop: EditorStops = None
    stream: bool | None = False
    n_probs: Annotated[int, Field(ge=0, le=20)] | None = None

    def settings(self, seed: int, context: int) -> SamplingSettings:
        limit = _INFILL_TOKENS if self.n_predict is None else self.n_predict
        return _settings(
            context if limit < 0 else max(limit, 1),
            max(self.temperature or 0.0, 0.0),
            0.0,
            self.top_p or 1.0,
            self.top_k if self.top_k and self.top_k > 0 else None,
            seed,
            self.stop,
        )


class CiteBody(Body):
    text: Annotated[Text, Field(max_length=100_000)]


class LookupBody(Body):
    target: Annotated[ShortText, Field(min_length=1)]


class RemovalBody(Body):
    target: Annotated[ShortText, Field(min_length=1)]
    requester: Annotated[ShortText, Field(min_length=1, max_length=200)]
    reason: Annotated[ShortText, Field(min_length=1)]


_INFILL_TOKENS = 64
"""New tokens where a client of an editor names no number."""


def _settings(
    max_tokens: int,
    temperature: float | None,
    usual_temperature: float,
    top_p: float | None,
    top_k: int | None,
    seed: int,
    stop: str | list[str] | None,
) -> SamplingSettings:
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    return SamplingSettings(
        max_new_tokens=max_tokens,
        temperature=usual_temperature if temperature is None else temperature,
        top_p=1.0 if top_p is None else top_p,
        top_k=top_k,
        seed=seed,
        stop=stops,
    )
