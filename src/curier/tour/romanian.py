"""What the tour says in Romanian."""

from __future__ import annotations

from typing import Final

from curier.tour.language import Language, Text

ROMANIAN: Final = Language(
    intro=(
        "MQTT are trei fluxuri, QoS 0, 1 și 2. Iată-le, și iată ce pierde sau dublează fiecare când se "
        "pierde un pachet. `gateway` publică, `dash` este abonat, iar brokerul păstrează câte o sesiune "
        "pentru amândoi. Fiecare scenă este o rulare adevărată a brokerului și a clienților curier, în "
        "timp virtual. Un pachet face 10 ms; la 5 secunde după o pierdere cade rețeaua, iar clientul "
        "revine după alte 5 secunde. Asta contează: MQTT retrimite atunci când un client se reconectează,"
        " și numai atunci [MQTT-4.4.0-1]."
    ),
    scenes={
        "qos0": Text(
            "QoS 0: cel mult o dată",
            (
                "gateway trimite PUBLISH și uită mesajul.",
                "Brokerul îl dă mai departe lui dash și îl uită și el. Nimeni nu confirmă nimic.",
            ),
        ),
        "qos0-publish": Text(
            "QoS 0, iar PUBLISH se pierde",
            (
                "PUBLISH nu ajunge niciodată. Nimeni nu așteaptă vreun răspuns, deci nimeni nu observă.",
                "Când revine, gateway nu are ce să retrimită: mesajul s-a pierdut.",
            ),
        ),
        "qos1": Text(
            "QoS 1: cel puțin o dată",
            (
                "gateway trimite PUBLISH cu un identificator de pachet (#1) și păstrează mesajul.",
                "Brokerul îl preia, îl dă mai departe și răspunde cu PUBACK #1. Este o promisiune: "
                "acum gateway poate uita mesajul.",
                "dash confirmă la fel ce a primit. Acela este alt flux, cu identificatorii lui.",
            ),
        ),
        "qos1-publish": Text(
            "QoS 1, iar PUBLISH se pierde",
            (
                "PUBLISH nu ajunge niciodată. gateway așteaptă un PUBACK cât timp ține conexiunea.",
                "Conexiunea cade. gateway revine la sesiunea sa și trimite PUBLISH din nou. DUP "
                "spune: poate îl ai deja.",
                "Brokerul nu îl are, așa că dash îl primește acum pentru prima oară.",
            ),
        ),
        "qos1-puback": Text(
            "QoS 1, iar PUBACK se pierde",
            (
                "Brokerul are mesajul, iar dash la fel. S-a pierdut doar PUBACK, ceea ce gateway nu "
                "poate deosebi de un PUBLISH pierdut.",
                "Așa că face același lucru: revine și trimite PUBLISH din nou, cu DUP.",
                "Brokerul a terminat cu #1 și nu mai ține minte nimic despre el. Îl ia drept alt "
                "mesaj, iar dash îl primește încă o dată (ca #2). QoS 1 mai degrabă "
                "dublează decât să piardă.",
            ),
        ),
        "qos1-receiver": Text(
            "QoS 1, iar PUBACK al abonatului se pierde",
            (
                "Se poate întâmpla și pe celălalt tronson. gateway are deja PUBACK și nu mai are "
                "nicio treabă cu restul.",
                "Brokerul așteaptă PUBACK de la dash. Când dash revine, îi trimite PUBLISH din nou, cu DUP.",
                "Programul din spatele lui dash primește mesajul de două ori. DUP nu este o dovadă: "
                "primul PUBLISH ar fi putut să se piardă.",
            ),
        ),
        "qos2": Text(
            "QoS 2: exact o dată",
            (
                "gateway trimite PUBLISH #1 și păstrează mesajul.",
                "Brokerul îl preia, notează că #1 este ocupat și răspunde cu PUBREC: primit.",
                "gateway uită mesajul, păstrează numărul și trimite PUBREL: nu-l mai trimit încă o dată.",
                "Brokerul uită numărul și răspunde cu PUBCOMP. De acum #1 poate însemna altceva.",
                "Între broker și dash trec aceleași patru pachete. Ele nu așteaptă celălalt tronson.",
            ),
        ),
        "qos2-publish": Text(
            "QoS 2, iar PUBLISH se pierde",
            (
                "PUBLISH nu ajunge niciodată; gateway așteaptă, conexiunea cade.",
                "gateway revine și îl trimite din nou, cu DUP. Brokerul nu are notat niciun #1, deci "
                "este nou.",
                "Restul decurge ca de obicei, iar dash îl primește o dată.",
            ),
        ),
        "qos2-pubrec": Text(
            "QoS 2, iar PUBREC se pierde",
            (
                "Brokerul are mesajul, iar dash îl are. gateway nu știe.",
                "Revine și trimite PUBLISH din nou: același număr, DUP. La QoS 1, în acest moment "
                "mesajul s-a dublat.",
                "Dar #1 este încă notat: brokerul știe că îl are. Răspunde cu PUBREC și nu dă nimic "
                "mai departe.",
            ),
        ),
        "qos2-pubrel": Text(
            "QoS 2, iar PUBREL se pierde",
            (
                "Mesajul a ajuns. A rămas doar un număr, notat de ambele părți.",
                "gateway revine și trimite din nou PUBREL, nu PUBLISH: mesajul nu îl mai are.",
                "Brokerul uită numărul și răspunde cu PUBCOMP.",
            ),
        ),
        "qos2-pubcomp": Text(
            "QoS 2, iar PUBCOMP se pierde",
            (
                "Brokerul a uitat deja numărul; gateway nu știe asta.",
                "Revine și trimite PUBREL din nou.",
                "Brokerul nu găsește niciun #1 și o spune (0x92). Nu este un eșec: și pentru gateway "
                "s-a încheiat.",
            ),
        ),
    },
    outcome="PUBLISH a plecat de la gateway {sent}; programul din spatele lui dash {received}; {knows}.",
    received=("nu a primit mesajul niciodată", "a primit mesajul {}"),
    knows=("lui gateway nu i s-a spus nimic", "lui gateway i s-a spus că mesajul a fost preluat"),
    once="o dată",
    times="de {} ori",
    never="niciodată",
    go_on="Enter continuă, q și Enter încheie turul: ",
    summary="De câte ori a primit dash mesajul:",
    lesson=(
        "QoS 0 pierde, QoS 1 dublează, QoS 2 nu face nici una, nici alta, cu de două ori mai multe "
        "pachete. QoS 1 și 2 își țin promisiunea cât timp ambele părți păstrează sesiunea: cine se "
        "conectează cu Clean Start, sau revine prea târziu, o ia de la capăt."
    ),
    drawn=(
        ("lost, by the rule", "pierdut, după regula"),
        ("delivered, perhaps twice", "livrat, poate de două ori"),
        ("delivered once", "livrat o dată"),
        ("delivered", "livrat"),
        ("at least once", "cel puțin o dată"),
        ("exactly once", "exact o dată"),
        ("sent again", "trimis din nou"),
    ),
)
