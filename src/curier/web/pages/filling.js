// Sentences with names and numbers in them.
// @ts-check

const RULES = { 2: new Intl.PluralRules("en"), 3: new Intl.PluralRules("ro") }; // by how many forms a language has

/**
 * The word that goes with a number: 1 message, 2 messages; 1 mesaj, 2 mesaje, 20 de mesaje.
 * @param {string[]} forms one and other, in English; one, few and other, in Romanian @param {number} value
 */
function form(forms, value) {
  const rule = RULES[/** @type {2 | 3} */ (forms.length)].select(value);
  return forms[rule === "one" ? 0 : rule === "few" ? 1 : forms.length - 1];
}

/**
 * A sentence with `{names}` filled in, and `{n:message|messages}` by what goes with a number.
 * @param {string} text @param {Record<string, string | number>} fill
 * @param {(value: number) => string} write a number
 * @returns {string}
 */
export function filled(text, fill, write) {
  return text.replace(/\{(\w+)(?::([^}]*))?\}/g, (whole, name, forms) => {
    const value = fill[name];
    if (forms !== undefined) return form(forms.split("|"), Number(value));
    return typeof value === "number" ? write(value) : (value ?? whole);
  });
}
