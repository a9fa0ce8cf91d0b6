"""Words that refuse training: sentences that forbid to use a work for machine learning or for text and data mining.

In: any text. Out: where the refusal stands, in characters. A refusal has three parts in one sentence: something that forbids
or reserves, an act of training or mining, and (for `training`, which people do as well) what is trained.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from stackwright.govern.licenses.words import read_words

_FORBIDS = (
    r"(?:(?:may|must|shall|should|can|could|is|are|does|do) (?:not|never|neither)|cannot"
    r"|not (?:be )?(?:used|included|permitted|allowed|licensed|authori[sz]ed|granted)"
    r"|do not (?:use|scrape|crawl|feed|ingest|include)"
    r"|no (?:permission|rights?|licen[sc]e|consent|part|use)|not for(?: use)?|never be|prohibit\w*|forbid\w*|forbidden"
    r"|disallow\w*|exclud\w*|reserv(?:e|es|ed|ing|ation)|refus\w*|objects? to|opts? out|opted out|opting out"
    r"|den(?:y|ies|ied)|bann?(?:s|ed)?|without (?:\S+ ){0,3}(?:permission|consent|licen[sc]e))"
)
_MODEL = (
    r"(?:ai|a i|artificial intelligence|machine learning|deep learning|neural networks?|language models?|llms?"
    r"|foundation models?|generative|ml|gpt|copilot|models?)"
)
_ACT = (
    r"(?:(?:train(?:s|ed|ing)?|fine tun(?:e|ed|ing)|pre ?train(?:ed|ing)?|develop(?:ed|ing|ment)?|improv\w+|teach\w*)"
    rf"(?: \S+){{0,8}} {_MODEL}|{_MODEL}(?: \S+){{0,4}} (?:train(?:ing|ed)|fine tuning|data ?sets?|training data)"
    r"|text and data mining|data mining|tdm|training (?:data|data ?sets?|corpus|corpora)"
    r"|input to (?:\S+ ){0,3}machine learning)"
)
_REFUSAL = re.compile(
    rf"\b(?:{_FORBIDS} (?:\S+ ){{0,18}}?{_ACT}|{_ACT}(?: \S+){{0,14}}? {_FORBIDS}|no ai (?:training|use)"
    r"|no machine learning|non ai licen[sc]e|no text and data mining)\b"
)
_SIGNAL = re.compile(r"\b(?:(?:pre-?)?train|mining\b|tdm\b|fine-?tun|machine\s+learning|ai\b)", re.IGNORECASE)
_SENTENCE = re.compile(r"(?:[^.!?;\n]|[.!?;](?!\s)|\n(?![ \t]*\n))+")


def forbids_training(text: str) -> tuple[int, int] | None:
    """Return where a text refuses training on it, in characters; None when it does not."""
    signals = [match.start() for match in _SIGNAL.finditer(text)]
    if not signals:
        return None
    for sentence in _SENTENCE.finditer(text):
        if bisect_left(signals, sentence.start()) == bisect_left(signals, sentence.end()):
            continue
        found = read_words(sentence[0])
        match = _REFUSAL.search(found.joined)
        if match is not None:
            first, last = found.word_range(*match.span())
            return sentence.start() + found.spans[first][0], sentence.start() + found.spans[last - 1][1]
    return None
