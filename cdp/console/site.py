from unfold.sites import UnfoldAdminSite


class ConsoleSite(UnfoldAdminSite):
    site_title = site_header = "Tessera"
    index_title = "Tessera"
