// Makes tc_strings.json and gpp_strings.json anew: `npm ci && node make_fixtures.mjs`. Needed only when a library is
// renewed; the tests of Tessera read the files and run no Node. The same seed gives the same files.
import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";

const require = createRequire(import.meta.url);
const { GVL, TCModel, TCString, PurposeRestriction, Segment } = require("@iabtechlabtcf/core");
const { GppModel, RangeEntry, Sections } = require("@iabgpp/cmpapi");

const MADE = Date.UTC(2026, 0, 15);
globalThis.Date = class extends Date { // the library puts its own clock into strings
  constructor(...given) { super(...(given.length ? given : [MADE])); }
};

let state = 20260301;
function below(limit) { // mulberry32
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296) * limit);
}
const some = (most, share) => Array.from({ length: most }, (_, place) => place + 1).filter(() => below(100) < share);

// -- TC strings -----------------------------------------------------------------------------------------------------

const VENDORS = 1200;
const purposes = Object.fromEntries(Array.from({ length: 11 }, (_, place) => [place + 1, { id: place + 1, name: `purpose ${place + 1}`, description: "", illustrations: [] }]));
const vendor = (id) => ({
  id, name: `vendor ${id}`, purposes: [1, 2, 3], legIntPurposes: [7, 8, 9], flexiblePurposes: [2, 7], specialPurposes: [],
  features: [], specialFeatures: [], dataDeclaration: [], usesCookies: false, usesNonCookieAccess: false, cookieRefresh: false,
});
const vendorList = () => ({
  gvlSpecificationVersion: 3, vendorListVersion: 120, tcfPolicyVersion: 5, lastUpdated: "2026-01-08T16:00:00Z", purposes,
  specialPurposes: {}, features: {}, specialFeatures: { 1: { id: 1 }, 2: { id: 2 } }, stacks: {}, dataCategories: {},
  vendors: Object.fromEntries(Array.from({ length: VENDORS }, (_, place) => [place + 1, vendor(place + 1)])),
});
const set = (vector) => { const found = []; vector.forEach((is, id) => { if (is) found.push(id); }); return found; };

function tcString(share, reach) {
  const model = new TCModel(new GVL(vendorList()));
  model.cmpId = 2 + below(4000);
  model.cmpVersion = below(4096);
  model.consentScreen = below(64);
  model.publisherCountryCode = ["DE", "FR", "AT", "ZA"][below(4)];
  model.isServiceSpecific = true;
  model.useNonStandardTexts = below(2) === 1;
  model.purposeOneTreatment = below(4) === 0;
  model.specialFeatureOptins.set(some(2, 50));
  model.purposeConsents.set(some(11, 60));
  model.purposeLegitimateInterests.set(some(11, 60));
  model.vendorConsents.set(some(reach, share));
  model.vendorLegitimateInterests.set(some(reach, share));
  model.vendorsDisclosed.set(some(reach, share));
  model.publisherConsents.set(some(11, 50));
  model.publisherLegitimateInterests.set(some(11, 50));
  model.numCustomPurposes = below(5);
  model.publisherCustomConsents.set(some(Number(model.numCustomPurposes), 50));
  model.publisherCustomLegitimateInterests.set(some(Number(model.numCustomPurposes), 50));
  for (let times = below(4); times > 0; times--) {
    const restriction = new PurposeRestriction(2 + 5 * below(2), below(3));
    for (const id of some(Math.min(reach, 60), 30)) model.publisherRestrictions.add(id, restriction);
  }
  model.created = model.lastUpdated = new Date(Date.UTC(2025, below(20), 1 + below(28)));
  const text = TCString.encode(model, { segments: [Segment.CORE, Segment.VENDORS_DISCLOSED, Segment.PUBLISHER_TC] });
  return { text, said: read(text) };
}

function read(text) { // by the library again: it corrects what a model may not say
  const model = TCString.decode(text);
  return {
    created: model.created.toISOString(), cmpId: model.cmpId, cmpVersion: model.cmpVersion,
    consentScreen: model.consentScreen, consentLanguage: model.consentLanguage,
    vendorListVersion: model.vendorListVersion, policyVersion: model.policyVersion,
    isServiceSpecific: model.isServiceSpecific, useNonStandardTexts: model.useNonStandardTexts,
    purposeOneTreatment: model.purposeOneTreatment, publisherCountryCode: model.publisherCountryCode,
    specialFeatureOptins: set(model.specialFeatureOptins), purposeConsents: set(model.purposeConsents),
    purposeLegitimateInterests: set(model.purposeLegitimateInterests), vendorConsents: set(model.vendorConsents),
    vendorLegitimateInterests: set(model.vendorLegitimateInterests), vendorsDisclosed: set(model.vendorsDisclosed),
    publisherConsents: set(model.publisherConsents), publisherLegitimateInterests: set(model.publisherLegitimateInterests),
    numCustomPurposes: model.numCustomPurposes, publisherCustomConsents: set(model.publisherCustomConsents),
    publisherCustomLegitimateInterests: set(model.publisherCustomLegitimateInterests),
    restrictions: model.publisherRestrictions.getRestrictions().map((each) => ({
      purpose: each.purposeId, kind: each.restrictionType, vendors: model.publisherRestrictions.getVendors(each),
    })),
  };
}

// -- GPP strings ----------------------------------------------------------------------------------------------------

const OTHERWISE_SAID = ["Created", "LastUpdated", "Version", "MspaVersion", "GpcSegmentType", "DisclosedVendorsSegmentType",
  "PubPurposesSegmentType", "ConsentLanguage", "NumCustomPurposes", "CustomPurposesExpressConsent", "CustomPurposesImpliedConsent"];

function anotherValue(name, value) {
  if (typeof value === "boolean") return below(2) === 1;
  if (Array.isArray(value)) {
    if (/^(Vendor|Disclosed)/.test(name)) return some([40, 900][below(2)], [4, 70][below(2)]);
    if (name === "PubRestrictions") return some(4, 40).map((purpose) => new RangeEntry(purpose, below(3), some(60, 20)));
    return value.map((each) => (typeof each === "boolean" ? below(2) === 1 : below(3)));
  }
  if (name === "CmpId" || name === "CmpVersion" || name === "VendorListVersion") return below(4096);
  return typeof value === "number" ? below(3) : value;
}

function fill(model, name) {
  const fields = Object.keys(model.getSection(name)).filter((field) => !OTHERWISE_SAID.includes(field));
  for (const field of fields) {
    for (let tries = 0; tries < 20; tries++) { // some numbers may not be 0, others not 2
      try { model.setFieldValue(name, field, anotherValue(field, model.getFieldValue(name, field))); break; } catch { /* again */ }
    }
  }
}

function gppString(names) {
  const model = new GppModel();
  for (const name of names) {
    if (name === "uspv1") {
      for (const field of ["Notice", "OptOutSale", "LspaCovered"]) model.setFieldValue(name, field, "YN-"[below(3)]);
    } else {
      model.setFieldValue(name, first(name), freshValue(name));
      fill(model, name);
      for (const included of ["GpcSegmentIncluded", "SensitiveDataConsentSegmentIncluded"]) {
        if (below(3) === 0) try { model.setFieldValue(name, included, false); } catch { /* it has no such segment */ }
      }
    }
  }
  const text = model.encode();
  return { text, sections: told(text) };
}

const first = (name) => ({ tcfcav1: "CmpId" })[name] ?? (["usmd", "usin", "usky", "usri"].includes(name) ? "ProcessingNotice" : "SaleOptOut");
const freshValue = (name) => (name === "tcfcav1" ? 7 : 1);

function told(text) {
  const model = new GppModel(text);
  return model.getSectionIds().map((id) => {
    const name = Sections.SECTION_ID_NAME_MAP.get(id);
    return { id, name, said: model.getSection(name) };
  });
}

const states = [...Sections.SECTION_ID_NAME_MAP.values()].filter((name) => name.startsWith("us") && name !== "uspv1");
const strings = [
  ...states.flatMap((name) => [gppString([name]), gppString([name]), gppString([name])]),
  ...Array.from({ length: 5 }, () => gppString(["uspv1"])),
  ...Array.from({ length: 8 }, () => gppString(["tcfcav1"])),
  ...Array.from({ length: 8 }, () => gppString([...states, "tcfcav1", "uspv1"].filter(() => below(3) === 0).concat("usca").filter((name, place, all) => all.indexOf(name) === place))),
];
const tc = [[3, 40], [90, 40], [2, VENDORS], [50, VENDORS], [99, VENDORS], [0, 10], [100, VENDORS]].flatMap(([share, reach]) => [0, 1, 2].map(() => tcString(share, reach)));
writeFileSync(new URL("tc_strings.json", import.meta.url), `${JSON.stringify(tc)}\n`);
writeFileSync(new URL("gpp_strings.json", import.meta.url), `${JSON.stringify(strings)}\n`);
console.log(tc.length, strings.length);
