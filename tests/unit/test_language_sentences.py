"""What people read of a rule: natural in both languages, and the same for the same rule."""

import pytest

from segments.language import explain, parse_json, parse_text, to_json


@pytest.mark.parametrize(
    ("text", "english", "french"),
    [
        (
            'trait "address"."city" = "Paris" ignoring case',
            "“city” of “address” is “Paris” ignoring case.",
            "« city » de « address » vaut « Paris » sans distinguer majuscules et minuscules.",
        ),
        (
            'trait "children" has ("age" < 18)',
            "“children” has an element of which “age” is less than 18.",
            "« children » a un élément dont « age » vaut moins de 18.",
        ),
        (
            'done "Order" where "products" has ("category" = "shoes" and "price" >= 100) and "currency" = "EUR"',
            (
                "“Order” where “products” has an element of which (“category” is “shoes” and “price” is at least 100) and"
                " “currency” is “EUR” happened."
            ),
            (
                "« Order » où « products » a un élément dont (« category » vaut « shoes » et « price » vaut au moins 100) et"
                " « currency » vaut « EUR » a eu lieu."
            ),
        ),
        (
            'trait "age" between 18 and 30.5',
            "“age” is between 18 and 30.5.",
            "« age » est entre 18 et 30,5.",
        ),
        (
            'trait "country" not in ("FR", "BE")',
            "“country” is known and none of “FR”, “BE”.",
            "« country » a une valeur autre que « FR » ou « BE ».",
        ),
        (
            'trait "n" in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)',
            "“n” is one of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more.",
            "« n » vaut 1 ou 2 ou 3 ou 4 ou 5 ou 6 ou 7 ou 8 ou 9 ou 10 ou 2 autres.",
        ),
        (
            'trait "home" within 500 m of (48.85, 2.35)',
            "“home” is within 500 m of (48.85, 2.35).",
            "« home » se trouve à 500 m au plus de (48,85 ; 2,35).",
        ),
        (
            'trait "renewal_at" in next 2 hours',
            "“renewal_at” is in the next 2 hours.",
            "« renewal_at » se situe dans les 2 prochaines heures.",
        ),
        (
            'trait "renewal_at" more than 1 week ago',
            "“renewal_at” is more than 1 week ago.",
            "« renewal_at » se situe il y a plus d’une semaine.",
        ),
        (
            'anniversary of "birthday" in next 1 day',
            "The anniversary of “birthday” is today or tomorrow.",
            "L’anniversaire de « birthday » tombe aujourd’hui ou demain.",
        ),
        (
            'count of "Order" between 1 hour and 2 days ago between 1 and 5',
            "The number of “Order” between 1 hour and 2 days ago is between 1 and 5.",
            "Le nombre de « Order » il y a entre une heure et 2 jours est entre 1 et 5.",
        ),
        (
            'average of "cart"."total" of "Order" this year > 3',
            "The average of “total” of “cart” of “Order” this year is more than 3.",
            "La moyenne de « total » de « cart » de « Order » cette année dépasse 3.",
        ),
        (
            'most frequent "category" of "View" yesterday != "shoes"',
            "The most frequent “category” of “View” yesterday is known and not “shoes”.",
            "La valeur la plus fréquente de « category » de « View » hier est connue et n’est pas « shoes ».",
        ),
        (
            'years in utc with "Order" in last 12 calendar weeks in workspace time >= 8',
            (
                "The number of years (UTC) with “Order” in the last 12 calendar weeks, this one included (in the time zone of"
                " the workspace) is at least 8."
            ),
            (
                "Le nombre d’années (UTC) avec « Order » au cours des 12 dernières semaines civiles, celle-ci comprise (dans le"
                " fuseau horaire de l’espace de travail) vaut au moins 8."
            ),
        ),
        (
            'hours since first "Order" in previous 3 calendar days < 30',
            "The number of whole hours since the first “Order” in the 3 calendar days before today is less than 30.",
            (
                "Le nombre d’heures pleines depuis le premier « Order » au cours des 3 jours civils avant aujourd’hui vaut"
                " moins de 30."
            ),
        ),
        (
            'done "A" then "B" where "x" = 1 then "C" within 1 hour without "X" or "Y" in last 1 week',
            (
                "“A”, then “B” where “x” is 1, then “C” happened within 1 hour, without “X” or “Y” in between, the first in the"
                " last week."
            ),
            (
                "« A », puis « B » où « x » vaut 1, puis « C » ont eu lieu en moins d’une heure, sans « X » ni « Y »"
                " entre-temps, le premier au cours de la dernière semaine."
            ),
        ),
        (
            'done "Cart" then not "Order" within 2 days until 2026-02-01T12:00:05Z',
            "“Cart” happened before 1 February 2026 at 12:00:05 (UTC), and no “Order” followed within 2 days.",
            (
                "« Cart » a eu lieu avant le 1er février 2026 à 12:00:05 (UTC), et aucun « Order » n’a suivi en moins de 2"
                " jours."
            ),
        ),
        (
            'done "Cart" from 2026-01-02 until 2026-02-01',
            "“Cart” happened from 2 January 2026 on and before 1 February 2026 (UTC).",
            "« Cart » a eu lieu à partir du 2 janvier 2026 et avant le 1er février 2026 (UTC).",
        ),
        (
            'top 100 by count of "Order" among segment "vip" refreshed every 2 hours',
            (
                "The profile is among the top 100 by the number of “Order” within the segment “vip”, ranked anew every 2"
                " hours."
            ),
            (
                "Le profil est parmi les 100 premiers selon le nombre de « Order » au sein du segment « vip », classement"
                " recalculé toutes les 2 heures."
            ),
        ),
        (
            'lowest 2.5 % by trait "age"',
            "The profile is among the lowest 2.5% by “age”, ranked anew every day.",
            "Le profil est dans les derniers 2,5 % selon « age », classement recalculé chaque jour.",
        ),
        (
            'top 1 by trait "age"',
            "The profile is the first by “age”, ranked anew every day.",
            "Le profil est le premier selon « age », classement recalculé chaque jour.",
        ),
        (
            'sample 0 to 10 % of "salt"',
            "The profile is in the random part from 0 to 10% that is named “salt”.",
            "Le profil est dans la part aléatoire de 0 à 10 % nommée « salt ».",
        ),
        (
            "not trait a exists and score churn < 1",
            "(It is not so that “a” is known) and the score of “churn” is less than 1.",
            "(Il est faux que « a » a une valeur) et le score de « churn » vaut moins de 1.",
        ),
        (
            "not not trait a = true",
            "It is not so that it is not so that “a” is true.",
            "Il est faux qu’il est faux que « a » vaut vrai.",
        ),
    ],
)
def test_sentence__of_a_condition__is_what_people_say(text, english, french):
    tree = parse_text(text)

    assert explain(tree, "en") == english
    assert explain(tree, "fr-CA") == french
    assert explain(parse_json(to_json(tree)), "fr") == french
