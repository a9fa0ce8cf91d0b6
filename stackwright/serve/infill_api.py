"""llama.cpp's `/infill`, as its editor plugins call it, and what they ask for besides.

Chunks of other files go before the prefix, the newest last, and only as much as fits a quarter of the context: our
tokenizers have no sentinels for files yet. A request that asks for no token reads the prompt, so that the next one begins
where it differs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from stackwright.generate.sampling import SamplingSettings
from stackwright.serve.batcher import Stream
from stackwright.serve.citing import Answer
from stackwright.serve.completing import Completer, Timings, Wanted, seed_of
from stackwright.serve.rendering import TokenTexts, citation_fields
from stackwright.serve.schema import InfillBody
from stackwright.serve.streaming import EventStream, event, unless_gone

EXTRA_SHARE = 1 / 4
"""Of the context, for chunks of other files."""


def infill_routes(completer: Completer, model: str) -> APIRouter:
    router = APIRouter(tags=["llama.cpp"])

    @router.post("/infill")
    async def infill(body: InfillBody, request: Request) -> Response:
        """Fill the gap between `input_prefix` and `input_suffix`."""
        wanted = await _wanted(completer, body)
        shape = _Infill(completer, body, model, wanted)
        (stream,) = completer.open([wanted], whole=False)
        if body.stream:
            return EventStream(shape.events(stream), lambda: completer.forget([stream]))
        try:
            return JSONResponse(await unless_gone(request.receive, shape.response(stream)))
        finally:
            completer.forget([stream])

    @router.get("/props")
    async def props() -> dict[str, Any]:
        """Say what the server can do, as llama.cpp's clients ask."""
        return {
            "default_generation_settings": {"n_ctx": completer.max_seq_len},
            "total_slots": completer.batcher.scheduler.limits.max_rows,
            "model_path": model,
        }

    return router


async def _wanted(completer: Completer, body: InfillBody) -> Wanted:
    context = completer.max_seq_len
    settings = body.settings(seed_of(body.seed), context)
    prefix = body.input_prefix + (body.prompt or "")
    extra = await asyncio.to_thread(_extra, completer, body, int(context * EXTRA_SHARE)) if body.input_extra else ""
    prompt, cut = await completer.read_prompt(extra + prefix, body.input_suffix, settings.max_new_tokens, fit=True)
    return Wanted(prompt, prefix, settings, body.n_probs or None, cut)


def _extra(completer: Completer, body: InfillBody, most_tokens: int) -> str:
    """Return chunks of other files as text to go before the prefix: whole chunks, as many of the newest as fit."""
    kept: list[str] = []
    for chunk in reversed(body.input_extra or []):
        text = chunk.text if chunk.text.endswith("\n") else chunk.text + "\n"
        most_tokens -= len(completer.codec.encode(text))
        if most_tokens < 0:
            break
        kept.append(text)
    return "".join(reversed(kept))


class _Infill:
    """The answer to one request, whole or in events."""

    def __init__(self, completer: Completer, body: InfillBody, model: str, wanted: Wanted) -> None:
        self._completer, self._body, self._model, self._wanted = completer, body, model, wanted
        self._timings = Timings()

    async def response(self, stream: Stream | None) -> dict[str, Any]:
        return self._answer(await self._completer.whole(self._wanted, stream, self._timings))

    async def events(self, stream: Stream | None) -> AsyncGenerator[str, None]:
        async for piece in self._completer.pieces(self._wanted, stream, self._timings):
            if piece.answer is None:
                yield event({"content": "" if self._reads_only else piece.text, "stop": False})
            else:
                yield event({**self._answer(piece.answer), "content": "" if self._reads_only else piece.text})

    @property
    def _reads_only(self) -> bool:
        return self._body.n_predict == 0

    def _answer(self, answer: Answer) -> dict[str, Any]:
        completion, timings = answer.completion, self._timings
        predicted = 0 if self._reads_only else len(completion.token_ids)
        prompt_seconds, new_seconds = timings.prompt_seconds, timings.new_seconds
        shown = {
            "content": "" if self._reads_only else completion.text,
            "stop": True,
            "stop_type": {"eot": "eos", "stop": "word", "length": "limit"}[completion.finish_reason],
            "stopping_word": "",
            "tokens_predicted": predicted,
            "tokens_evaluated": len(self._wanted.prompt),
            "tokens_cached": len(self._wanted.prompt) + predicted,
            "truncated": self._wanted.truncated,
            "timings": {
                "prompt_n": len(self._wanted.prompt),
                "prompt_ms": 1000 * prompt_seconds,
                "prompt_per_second": len(self._wanted.prompt) / prompt_seconds if prompt_seconds else None,
                "predicted_n": predicted,
                "predicted_ms": 1000 * new_seconds,
                "predicted_per_second": predicted / new_seconds if new_seconds else None,
            },
            "model": self._model,
            "generation_settings": _settings(self._wanted.settings),
            **citation_fields(answer if not self._reads_only else replace(answer, citations=())),
        }
        if self._wanted.num_scores is not None:
            shown["completion_probabilities"] = self._probabilities(answer)
        return shown

    def _probabilities(self, answer: Answer) -> list[dict[str, Any]]:
        texts = TokenTexts(self._completer.codec)
        return [
            {
                "id": score.token_id,
                "token": texts.name(score.token_id),
                "logprob": score.logprob,
                "top_logprobs": [
                    {"id": token, "token": texts.name(token), "logprob": value} for token, value in score.likeliest
                ],
            }
            for _, score in texts.placed(answer.completion.scores, len(answer.completion.text))
        ]


def _settings(settings: SamplingSettings) -> dict[str, Any]:
    return {
        "n_predict": settings.max_new_tokens,
        "temperature": settings.temperature,
        "top_k": settings.top_k or 0,
        "top_p": settings.top_p,
        "seed": settings.seed,
        "stop": list(settings.stop),
    }
