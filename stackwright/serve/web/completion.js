/* One completion as it arrives: its text, its tokens with what else was likely, and what it repeats.

In: what was asked, and the chunks of the stream. Out: the text so far, and ranges in the text with the completion in it, in
UTF-16 units. A textarea has no carriage returns, so the text has none either, and every place is moved accordingly.
*/

import { stream } from "./api.js";
import { beginningOf, endOf, unitsBack, unitsOf } from "./text.js";

const UNITS_PER_TOKEN = 8; // more than any text has; the server keeps what fits the context

/** Return the body of a request for a completion at the cursor. */
export function requestOf(model, context, before, after, settings) {
  const room = context * UNITS_PER_TOKEN;
  const body = {
    model,
    prompt: endOf(before, room),
    max_tokens: settings.tokens,
    truncate_prompt_tokens: -1, // keeps what is next to the caret
    temperature: settings.temperature,
    logprobs: 5,
    stream: true,
  };
  if (settings.mode === "infill") body.suffix = beginningOf(after, room);
  if (settings.stop.length > 0) body.stop = settings.stop;
  if (settings.seed !== null) body.seed = settings.seed;
  return body;
}

export class Completion {
  #raw = "";
  #places = []; // where each token begins, in characters of the raw text
  #citations = [];

  constructor(at, before) {
    [this.at, this.before] = [at, before];
    this.tokens = []; // {text, probability, alternatives: [[text, probability]]}
    this.withheld = [];
    this.isComplete = true; // whether the search for citations got to its end
    this.reason = null;
  }

  /** Take the chunks of a stream; `onGrown` is called after each. */
  async read(body, signal, onGrown) {
    for await (const chunk of stream("v1/completions", body, signal)) {
      for (const choice of chunk.choices) this.#add(choice);
      onGrown();
    }
  }

  get text() {
    return withoutReturns(this.#raw);
  }

  /** Return where each token lies. A token that is part of a character is as wide as nothing, but for the last one. */
  get ranges() {
    return this.#places.map((place, number) => ({
      start: this.at + this.#unitsTo(place),
      end: this.at + (number + 1 < this.#places.length ? this.#unitsTo(this.#places[number + 1]) : this.text.length),
    }));
  }

  /** Return what the completion repeats, with its place in the text; a copy often begins before the completion. */
  get citations() {
    return this.#citations.map((span, number) => ({ ...this.#placed(span), id: number, origin: span }));
  }

  #placed({ start, end, kind }) {
    const from = start < 0 ? this.at - unitsBack(this.before, -start) : this.at + this.#unitsTo(start);
    return { start: from, end: this.at + this.#unitsTo(end), kind };
  }

  #unitsTo(place) {
    return withoutReturns(this.#raw.slice(0, unitsOf(this.#raw, place))).length;
  }

  #add(choice) {
    this.#raw += choice.text;
    if (choice.logprobs) this.#addTokens(choice.logprobs);
    if (choice.citations) this.#citations = choice.citations;
    if (choice.withheld) this.withheld = choice.withheld;
    if (choice.citations_complete === false) this.isComplete = false;
    if (choice.finish_reason) this.reason = choice.finish_reason;
  }

  #addTokens({ tokens, token_logprobs: logprobs, top_logprobs: tops, text_offset: places }) {
    tokens.forEach((text, number) => {
      const likely = Object.entries(tops?.[number] ?? {}).map(([other, logprob]) => [other, Math.exp(logprob)]);
      likely.sort(([, one], [, other]) => other - one);
      this.tokens.push({ text, probability: Math.exp(logprobs[number]), alternatives: likely });
      this.#places.push(places[number]);
    });
  }
}

function withoutReturns(text) {
  return text.replace(/\r\n?/g, "\n");
}
