"""What columns are called, in English and French, in whatever spelling. Pure."""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Final

# The words of a name, joined: `Code Postal`, `codePostal` and `CODE_POSTAL` are all `codepostal`.
TRAITS: Final[Mapping[str, str]] = {
    "given_name": "givenname firstname forename fname prenom prenoms namefirst primarynamefirst vorname",
    "surname": "surname lastname familyname lname nom nomdefamille nomfamille nomusage namelast primarynamelast",
    "full_name": "fullname name personname displayname customername clientname contactname nomcomplet nometprenom "
    "nomprenom prenomnom primarynamefull namefull",
    "title": "title salutation civilite titre prefix",
    "gender": "gender sex sexe genre",
    "date_of_birth": "dateofbirth dob birthdate birthday birthdt born datenaissance datedenaissance naissance "
    "datenaiss ddn nele neele nelee",
    "birth_year": "birthyear yearofbirth yob dobyear anneenaissance anneedenaissance",
    "birth_month": "birthmonth monthofbirth dobmonth moisnaissance moisdenaissance",
    "birth_day": "dayofbirth dobday journaissance jourdenaissance",
    "name_suffix": "namesuffix suffix",
    "age": "age birthage",
    "street_number": "streetnumber housenumber streetno houseno numerovoie numvoie numerorue",
    "street": "street address address1 addressline1 streetaddress addr addrline1 addr1 addrfull adresse adresse1 "
    "adressepostale rue voie libellevoie ligneadresse1",
    "city": "city town suburb locality addrcity ville commune localite",
    "postcode": "postcode postalcode zip zipcode addrpostalcode codepostal cp codpostal",
    "region": "state county province addrstate departement dept",
    "country": "country countrycode addrcountry pays codepays",
    "language": "language lang locale langue",
    "organisation": "organisation organization orgname company companyname businessname primarynameorg employer "
    "societe entreprise raisonsociale nomentreprise nomsociete enseigne",
    "website": "website url homepage web siteweb site",
    "national_id": "nationalid socsecid ssn socialsecuritynumber nino taxid ssnnumber taxidnumber nationalidnumber nir "
    "numerosecuritesociale numsecu",
    "siren": "siren numerosiren numsiren nosiren",
    "siret": "siret numerosiret numsiret nosiret",
    "vat_number": "vat vatnumber vatid tva numerotva numtva tvaintracommunautaire",
}  # fmt: skip
IDENTIFIERS: Final[Mapping[str, str]] = {
    "email": "email mail emailaddress mailaddress emailaddr courriel adressemail adresseemail adressecourriel "
    "adresseelectronique emails",
    "phone": "phone phonenumber telephone telephonenumber mobile mobilephone mobilenumber cell cellphone tel tel1 gsm "
    "phone1 portable telephonemobile telephoneportable telmobile telportable numerotelephone numtel numerodetelephone "
    "telephonefixe mobilephonenumber",
    "user_id": "userid uid userkey useridentifier idutilisateur utilisateur",
    "anonymous_id": "anonymousid anonid visitorid cookieid deviceid idvisiteur userpseudoid",
}  # fmt: skip
OF_EVENTS: Final[Mapping[str, str]] = {
    "user_id": "customerid customer customerno customernumber clientid client idclient codeclient numeroclient "
    "memberid userid uid",
}
KEYS: Final = (
    "id key no number num numero uniqueid recid recordid rowid customerid customerno customernumber clientid clientno clientnumber contactid "
    "accountid personid userid memberid uuid guid externalid reference ref idclient codeclient numeroclient numclient "
    "noclient identifiant matricule idcontact numeroadherent refclient customerkey nclient nadherent ncompte"
)  # fmt: skip
OBSERVED: Final = (
    "updatedat updated modifiedat modified lastmodified lastmodifiedat lastupdate lastupdated changedat changed "
    "modificationdate systemmodstamp observedat timestamp datemodification datemaj datemiseajour miseajour modifiele"
)  # fmt: skip
MESSAGE_KEYS: Final = "messageid eventid eventuuid idevenement"
EVENT_NAMES: Final = "event eventname eventtype action activity evenement nomevenement typeevenement evt"
EVENT_TIMES: Final = (
    "timestamp occurredat observedat eventtime eventtimestamp eventdate time datetime date createdat created at ts "
    "originaltimestamp horodatage dateevenement dateheure heure datecreation invoicedate orderdate purchasedate "
    "datecommande dateachat"
)  # fmt: skip

_OWNERS: Final = (
    "customer client contact user person member primary main home work personal perso billing shipping delivery account "
    "buyer acheteur facturation livraison principal principale professionnel pro adherent current"
)


def words_of(name: str) -> list[str]:
    """`dateDeNaissance`, `Date de naissance` and `DATE_NAISSANCE` in words, without accents."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", plain)
    return re.findall(r"[a-z0-9]+", spaced.lower())


def snake(name: str) -> str:
    """As a trait or property is called."""
    return "_".join(words_of(name)) or name


def likeness(name: str, known: str) -> float:
    """How surely a column of this name is one of the `known`: 0 for another, less than 1 behind whose it is."""
    words = words_of(name)
    if "".join(words) in _split(known):
        return 0.95
    owned = [word for word in words if word not in _split(_OWNERS) and word != "de"]
    return 0.8 if owned and owned != words and "".join(owned) in _split(known) else 0.0


@cache
def _split(known: str) -> frozenset[str]:
    return frozenset(known.split())
