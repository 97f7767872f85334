// Romanian, by the English sentence: of the tour, and of trying it oneself.
// @ts-check
/** @type {Record<string, string>} */
export const ro = {
  "A packet that you choose is taken apart.": "Un pachet pe care îl alegeți este desfăcut.",
  "Back": "Înapoi",
  "Begin": "Începe",
  "How often will dash get the message?": "De câte ori va primi dash mesajul?",
  "It is: {often}.": "Este: {often}.",
  "Next": "Mai departe",
  "Now break it yourself": "Acum stricați-o chiar dumneavoastră",
  "Scene": "Scenă",
  "Scenes": "Scene",
  "That is right.": "Corect.",
  "The line is broken on purpose:": "Linia este stricată intenționat:",
  "Think first, then look: guess, and you see what went by.": "Întâi gândiți, apoi priviți: ghiciți, și vedeți ce a trecut.",
  "Tour": "Tur",
  "not seen yet": "încă nevăzută",
  "seen": "văzută",
};
