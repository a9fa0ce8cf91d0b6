"""OpenAI's completions, and Mistral's fill-in-the-middle, over one `Completer`.

Beyond OpenAI's fields a choice has `citations`, `withheld` and `citations_complete` (docs/serve.md).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from stackwright.serve.batcher import Stream
from stackwright.serve.citing import Answer
from stackwright.serve.completing import Completer, Piece, Wanted, seed_of
from stackwright.serve.faults import ApiError
from stackwright.serve.rendering import TokenTexts, citation_fields, finish_reason
from stackwright.serve.schema import CompletionBody, FimBody
from stackwright.serve.streaming import EventStream, event, merged, together, unless_gone


def openai_routes(completer: Completer, model: str, created: int) -> APIRouter:
    """Return the routes under `/v1`."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])
    card = {"id": model, "object": "model", "created": created, "owned_by": "stackwright"}

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """List the model that is served."""
        return {"object": "list", "data": [card]}

    @router.get("/models/{name:path}")
    async def one_model(name: str) -> dict[str, Any]:
        """Describe the model that is served."""
        if name != model:
            raise ApiError(404, f"there is no model {name!r}; this server has {model!r}", "model")
        return card

    @router.post("/completions")
    async def completions(body: CompletionBody, request: Request) -> Response:
        """Continue a prompt, or fill the gap before `suffix`."""
        wanted = await _wanted(completer, body)
        shape = _Completions(completer, body, model, wanted)
        streams = completer.open(wanted, whole=not body.stream)
        if body.stream:
            return EventStream(shape.events(streams), lambda: completer.forget(streams))
        try:
            return JSONResponse(await unless_gone(request.receive, shape.response(streams)))
        finally:
            completer.forget(streams)

    @router.post("/fim/completions")
    async def fim_completions(body: FimBody, request: Request) -> Response:
        """Fill the gap between prompt and suffix; the answer has the shape of a chat."""
        settings = body.settings(seed_of(body.random_seed if body.seed is None else body.seed))
        prompt, cut = await completer.read_prompt(body.prompt, body.suffix, settings.max_new_tokens, fit=True)
        wanted = Wanted(prompt, body.prompt, settings, truncated=cut)
        (stream,) = completer.open([wanted], whole=not body.stream)
        if body.stream:
            return EventStream(_chat_events(completer, model, wanted, stream), lambda: completer.forget([stream]))
        try:
            answer = await unless_gone(request.receive, completer.whole(wanted, stream))
        finally:
            completer.forget([stream])
        message = {"role": "assistant", "content": answer.completion.text}
        return JSONResponse(_chat(model, "chat.completion", {"message": message}, answer, len(prompt)))

    return router


async def _wanted(completer: Completer, body: CompletionBody) -> list[Wanted]:
    """Return every completion that a request asks for: the choices of its first prompt, then those of the next."""
    settings, wanted = body.settings(seed_of(body.seed)), []
    choices = [replace(settings, seed=(settings.seed + choice) % 2**63) for choice in range(body.num_choices)]
    for prompt in body.prompts:
        if isinstance(prompt, str):
            fit = body.truncate_prompt_tokens is not None
            ids, cut = await completer.read_prompt(prompt, body.suffix, settings.max_new_tokens, fit=fit)
            before = prompt
        else:
            ids, cut, before = _checked(completer, prompt), False, _text_of(completer, prompt)
        wanted += [Wanted(ids, before, choice, body.logprobs, cut) for choice in choices]
    return wanted


def _checked(completer: Completer, ids: Sequence[int]) -> tuple[int, ...]:
    size = completer.codec.vocab_size
    if unknown := next((token for token in ids if token >= size), None):
        raise ApiError(400, f"prompt holds the token id {unknown}, and the vocabulary has {size:,} tokens", "prompt")
    completer.check_length(ids)
    return tuple(ids)


def _text_of(completer: Completer, ids: Sequence[int]) -> str:
    return b"".join(completer.codec.token_bytes(token) for token in ids).decode("utf-8", "replace")


class _Completions:
    """The answer to one request, whole or in events."""

    def __init__(self, completer: Completer, body: CompletionBody, model: str, wanted: Sequence[Wanted]) -> None:
        self._completer, self._body, self._wanted = completer, body, wanted
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
        }

    async def response(self, streams: Sequence[Stream | None]) -> dict[str, Any]:
        answers = await together(
            [self._completer.whole(one, stream) for one, stream in zip(self._wanted, streams, strict=True)]
        )
        choices = [self._choice(index, answer) for index, answer in enumerate(answers)]
        return {**self._head, "choices": choices, "usage": self._usage(answers)}

    async def events(self, streams: Sequence[Stream | None]) -> AsyncGenerator[str, None]:
        texts = [TokenTexts(self._completer.codec) for _ in self._wanted]
        answers = []
        pieces = [self._completer.pieces(one, stream) for one, stream in zip(self._wanted, streams, strict=True)]
        async for index, piece in merged(pieces):
            yield event({**self._head, "choices": [self._piece(index, piece, texts[index])]})
            if piece.answer is not None:
                answers.append(piece.answer)
        if self._body.stream_options is not None and self._body.stream_options.include_usage:
            yield event({**self._head, "choices": [], "usage": self._usage(answers)})
        yield event("[DONE]")

    def _choice(self, index: int, answer: Answer) -> dict[str, Any]:
        completion = answer.completion
        logprobs = None
        if self._body.logprobs is not None:
            logprobs = TokenTexts(self._completer.codec).logprobs(completion.scores, len(completion.text))
        return {
            "index": index,
            "text": completion.text,
            "finish_reason": finish_reason(answer),
            "logprobs": logprobs,
            **citation_fields(answer),
        }

    def _piece(self, index: int, piece: Piece, texts: TokenTexts) -> dict[str, Any]:
        end = None if piece.answer is None else len(piece.answer.completion.text)
        return {
            "index": index,
            "text": piece.text,
            "finish_reason": None if piece.answer is None else finish_reason(piece.answer),
            "logprobs": None if self._body.logprobs is None else texts.logprobs(piece.scores, end),
            **({} if piece.answer is None else citation_fields(piece.answer)),
        }

    def _usage(self, answers: Sequence[Answer]) -> dict[str, int]:
        # The choices of a prompt share it.
        prompt_tokens = sum(len(one.prompt) for one in self._wanted[:: self._body.num_choices])
        return _usage(prompt_tokens, sum(len(answer.completion.token_ids) for answer in answers))


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _chat(model: str, kind: str, content: dict[str, Any], answer: Answer | None, prompt_tokens: int) -> dict[str, Any]:
    """Return an answer, or an event, in the shape of a chat."""
    choice = {"index": 0, **content, "finish_reason": None if answer is None else finish_reason(answer)}
    body = {"id": f"fim-{secrets.token_hex(12)}", "object": kind, "created": int(time.time()), "model": model}
    if answer is None:
        return {**body, "choices": [choice]}
    usage = _usage(prompt_tokens, len(answer.completion.token_ids))
    return {**body, "choices": [{**choice, **citation_fields(answer)}], "usage": usage}


async def _chat_events(completer: Completer, model: str, wanted: Wanted, stream: Stream | None) -> AsyncGenerator[str, None]:
    async for piece in completer.pieces(wanted, stream):
        delta = {"delta": {"role": "assistant", "content": piece.text}}
        yield event(_chat(model, "chat.completion.chunk", delta, piece.answer, len(wanted.prompt)))
    yield event("[DONE]")
