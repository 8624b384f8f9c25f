"use strict";

// How well a term of the query fits a feature: 0 if not at all. A term in quotes is a whole token.
const termsOf = (query) =>
  [...query.matchAll(/"([^"]+)"|(\S+)/g)].map(([, exact, word]) => ({ exact, word: (exact ?? word).toLowerCase() }));
const tokenFit = (token, { exact, word }) => {
  if (exact !== undefined) return token === exact ? 3 : 0;
  const text = token.toLowerCase();
  return text.trim() === word ? 2 : text.includes(word) || visible(text).includes(word) ? 1 : 0;
};
const isNumber = (feature, { exact, word }) => exact === undefined && String(feature.number) === word;
const fit = (feature, term, scope) => {
  let best = 0;
  if (scope !== "raises") {
    for (const [token, share] of feature.fires_on) best = Math.max(best, tokenFit(token, term) && tokenFit(token, term) + share);
    for (const [token] of feature.peaks) best = Math.max(best, tokenFit(token, term));
  }
  if (scope !== "fires_on") {
    for (const token of feature.raises) best = Math.max(best, tokenFit(token, term) / 2);
  }
  if (scope === "all" && term.exact === undefined) {
    if (isNumber(feature, term)) best = Math.max(best, 9);
    if (feature.kinds.includes(term.word) || (feature.dead && term.word === "dead")) best = Math.max(best, 4);
  }
  return best;
};

// How many of a feature's strongest contexts have their largest activation on a token that is a term, not only has it.
const peaksOn = (feature, terms) =>
  feature.peaks.reduce((sum, [token, count]) => sum + (terms.some((term) => tokenFit(token, term) > 1) ? count : 0), 0);
const rate = (feature, terms, scope) => {
  const fits = terms.map((term) => fit(feature, term, scope));
  feature.score = fits.reduce((sum, value) => sum + value, 0);
  feature.named = terms.some((term) => isNumber(feature, term));
  feature.on = scope === "raises" ? 0 : peaksOn(feature, terms);
  return fits.every((value) => value > 0);
};
const best = (a, b) =>
  b.named - a.named || share(b) - share(a) || b.on - a.on || b.score - a.score || b.density - a.density;
