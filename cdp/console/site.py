from django.http import HttpRequest
from django.urls import URLPattern, URLResolver, path
from django.utils.translation import gettext_lazy as _
from django.views.i18n import set_language
from unfold.sites import UnfoldAdminSite

from cdp.console.register import show_register
from cdp.console.segment_preview import preview_segment
from cdp.console.segment_reading import show_overlap, why_somebody
from cdp.console.workspaces import choose_workspace


class ConsoleSite(UnfoldAdminSite):
    site_title = site_header = "Tessera"
    index_title = _("Home")

    def get_urls(self) -> list[URLPattern | URLResolver]:
        own = [
            path("language/", set_language, name="set_language"),
            path("workspace/", self.admin_view(choose_workspace), name="choose_workspace"),
            path("segments/segment/preview/", self.admin_view(preview_segment), name="segments_segment_preview"),
            path("segments/segment/overlap/", self.admin_view(show_overlap), name="segments_segment_overlap"),
            path("segments/segment/<slug:slug>/why/", self.admin_view(why_somebody), name="segments_segment_why_of"),
            path("register/", self.admin_view(show_register), name="register"),
        ]
        return [*own, *super().get_urls()]

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_staff)
