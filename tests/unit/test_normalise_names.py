"""Names in one spelling, with their case where it was lost, and in their parts."""

import pytest

from cdp.ingestion.normalise import Quality, names
from cdp.ingestion.normalise.names import NameParts, full_name, name, name_parts


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("JEAN-PIERRE", "Jean-Pierre"),
        ("jean de la fontaine", "Jean de La Fontaine"),
        ("D’ARTAGNAN", "d'Artagnan"),
        ("O’Brien", "O'Brien"),
        ("O'BRIEN", "O'Brien"),
        ("l'hermitte", "L'Hermitte"),
        ("mcdonald", "McDonald"),
        ("VAN DER BERG", "van der Berg"),
        ("ÉLODIE", "Élodie"),
        ("HENRY VIII", "Henry VIII"),
        ("DE", "De"),
        ("x", "X"),
        ("Jean - Pierre", "Jean-Pierre"),
        ("Jean–Pierre", "Jean-Pierre"),
        ("von Trapp", "von Trapp"),
        ("DiCaprio", "DiCaprio"),
        ("ß", "ß"),
        ("中村", "中村"),
        ("-", None),
        (" \n ", None),
    ],
)
def test_name__in_any_spelling__is_one(written, normal):
    assert name(written, region="FR") == normal


def test_name__with_an_article__has_it_as_its_region_writes():
    assert name("JOSÉ DE LA CRUZ", region="FR") == "José de La Cruz"
    assert name("JOSÉ DE LA CRUZ", region="ES") == "José de la Cruz"


def test_name__that_is_no_name_for_its_length__is_left():
    assert name("A" * 201) == "A" * 201


def test_name__whose_case_was_repaired__says_so():
    assert names.read("ADA", region="").quality == Quality.REPAIRED
    assert names.read("O’Brien", region="").quality == Quality.EXACT
    assert names.read(None, region="") is None


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("DUPONT Jean-Pierre", NameParts(given_name="Jean-Pierre", surname="Dupont")),
        ("Jean-Pierre DUPONT", NameParts(given_name="Jean-Pierre", surname="Dupont")),
        ("M. DUPONT Jean-Pierre", NameParts("M.", "Jean-Pierre", "", "Dupont")),
        ("M. Jean de La Fontaine", NameParts("M.", "Jean", "", "de La Fontaine")),
        ("DE LA TOUR Anne", NameParts(given_name="Anne", surname="de La Tour")),
        ("Anne de LA TOUR", NameParts(given_name="Anne", surname="de La Tour")),
        ("Mme Marie-Claire du Pont", NameParts("Mme", "Marie-Claire", "", "du Pont")),
        ("jean dupont", NameParts(given_name="Jean", surname="Dupont")),
        ("JEAN DUPONT", NameParts(given_name="Jean", surname="Dupont")),
        ("Smith, John Jr.", NameParts(given_name="John", surname="Smith", suffix="Jr.")),
        ("Dr. Juan Q. Xavier de la Vega III", NameParts("Dr", "Juan", "Q. Xavier", "de la Vega", "III")),
        ("Anna MARIA Berg", NameParts(given_name="Anna", middle_name="MARIA", surname="Berg")),
        ("Ludwig van Beethoven", NameParts(given_name="Ludwig", surname="van Beethoven")),
        ("", None),
        ("A" * 201, None),
    ],
)
def test_parts__of_a_full_name__are_found(written, parts):
    assert name_parts(written, region="FR") == parts


def test_full_name__of_parts__is_the_name():
    assert full_name(NameParts("M.", "Jean", "", "de La Fontaine")) == "M. Jean de La Fontaine"
