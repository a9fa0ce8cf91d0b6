/* Syntax colours.

In: a text and a language. Out: ranges `{start, end, kind}` in order, that do not overlap; what lies between them is plain.
One pass over the text: a pattern for each kind of token, none of which looks back, so that time grows with the length.
*/

const NUMBER = String.raw`\b(?:0[xobXOB][\da-fA-F_]+|\d[\d_]*(?:\.[\d_]*)?(?:[eE][+-]?\d+)?)\w*`;
const DOUBLE = String.raw`"(?:[^"\\\n]|\\[^])*"?`;
const SINGLE = String.raw`'(?:[^'\\\n]|\\[^])*'?`;
const PREFIX = String.raw`(?:\b[rbfuRBFU]{1,2})?`;
const TRIPLE = String.raw`"""(?:[^"\\]|\\[^]|"(?!""))*(?:""")?|'''(?:[^'\\]|\\[^]|'(?!''))*(?:''')?`;
const BLOCK_COMMENT = String.raw`\/\*(?:[^*]|\*(?!\/))*(?:\*\/)?`;
const LINE_COMMENT = String.raw`\/\/[^\n]*`;
const CALL = String.raw`\b[A-Za-z_$][\w$]*(?=\()`;

const KEYWORDS = {
  python:
    "and as assert async await break case class continue def del elif else except finally for from global if import in is " +
    "lambda match nonlocal not or pass raise return try while with yield False None True self cls",
  javascript:
    "abstract any as async await boolean break case catch class const continue declare default delete do else enum export " +
    "extends false finally for from function get if implements import in instanceof interface let namespace never new " +
    "null number of private protected public readonly return set static string super switch this throw true try type " +
    "typeof undefined unknown var void while yield",
  clike:
    "abstract auto bool break byte case catch char class const constexpr continue def default delete do double else enum " +
    "extern false final float fn for func go goto if impl implements import in inline int interface let long match mod " +
    "mut namespace new nil null nullptr override package private protected pub public return self short signed sizeof " +
    "static struct super switch template this throw throws trait true try type typedef typename union unsigned use using " +
    "var virtual void volatile where while",
};

const PATTERNS = {
  python: [
    ["comment", "#[^\\n]*"],
    ["string", `${PREFIX}(?:${TRIPLE}|${DOUBLE}|${SINGLE})`],
    ["meta", String.raw`@[\w.]+`],
  ],
  javascript: [
    ["comment", `${LINE_COMMENT}|${BLOCK_COMMENT}`],
    ["string", `${DOUBLE}|${SINGLE}|\`(?:[^\`\\\\]|\\\\[^])*\`?`],
    ["meta", String.raw`@[\w.]+`],
  ],
  clike: [
    ["comment", `${LINE_COMMENT}|${BLOCK_COMMENT}`],
    ["string", `${DOUBLE}|'(?:[^'\\\\\\n]|\\\\[^])'`],
    ["meta", String.raw`^[ \t]*#[^\n]*`],
  ],
  generic: [
    ["comment", String.raw`(?:#|\/\/|--)(?= )[^\n]*`],
    ["string", `${DOUBLE}`],
  ],
};

const compiled = new Map();

function grammarOf(language) {
  if (!compiled.has(language)) {
    const kinds = [];
    const parts = PATTERNS[language].map(([kind, pattern]) => (kinds.push(kind), `(${pattern})`));
    if (language in KEYWORDS) {
      parts.push(String.raw`(\b(?:${KEYWORDS[language].split(" ").join("|")})\b)`, `(${CALL})`);
      kinds.push("keyword", "call");
    }
    parts.push(`(${NUMBER})`);
    kinds.push("number");
    compiled.set(language, { kinds, pattern: new RegExp(parts.join("|"), "gm") });
  }
  return compiled.get(language);
}

const SIGNS = {
  python: /^[ \t]*(?:(?:async def|def|class|if|elif|else|for|while|with|try)\b[^\n;{]*:|from [\w.]+ import\b)/gm,
  javascript: /\b(?:function|const|let|export|typeof)\b|=>|===/g,
  clike: /^[ \t]*(?:#[ \t]*include|package|using|namespace|pub|fn|func|impl|public)\b|\b(?:void|int|char|double|struct)\b/gm,
};

/** Return the language of which a text has the most signs. */
export function languageOf(text) {
  const beginning = text.slice(0, 5000);
  const counts = Object.entries(SIGNS).map(([language, sign]) => [(beginning.match(sign) ?? []).length, language]);
  const [most, language] = counts.reduce((best, other) => (other[0] > best[0] ? other : best));
  return most > 0 ? language : "generic";
}

/** Return the coloured ranges of a text. */
export function highlight(text, language) {
  const { kinds, pattern } = grammarOf(language);
  const ranges = [];
  for (const match of text.matchAll(pattern)) {
    const kind = kinds[match.slice(1).findIndex((group) => group !== undefined)];
    if (kind && match[0].length > 0) ranges.push({ start: match.index, end: match.index + match[0].length, kind });
  }
  return ranges;
}
