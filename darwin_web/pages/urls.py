from django.urls import URLPattern, path, re_path

from darwin_web.pages import curves, experiment, lineage, machine, new, overview, propose, state, variant

urlpatterns: list[URLPattern] = [
    path("", overview.overview, name="overview"),
    path("experiments/", overview.experiments, name="experiments"),
    path("experiments/new/", new.experiment_new, name="experiment_new"),
    path("experiments/new/estimate/", new.estimate, name="experiment_estimate"),
    path("experiments/<slug:slug>/", experiment.experiment, name="experiment"),
    re_path(
        r"^experiments/(?P<slug>[-\w]+)/(?P<action>pause|resume|stop)/$", experiment.experiment_control,
        name="experiment_control",
    ),
    path("experiments/<slug:slug>/state/", state.experiment_state, name="experiment_state"),
    path("experiments/<slug:slug>/curves/", curves.experiment_curves, name="experiment_curves"),
    path("experiments/<slug:slug>/propose/", propose.propose, name="propose"),
    path("experiments/<slug:slug>/lineage/", lineage.lineage, name="lineage"),
    path("experiments/<slug:slug>/lineage/data/", lineage.lineage_data, name="lineage_data"),
    path("experiments/<slug:slug>/variants/<int:number>/", variant.variant, name="variant"),
    path("machine/", machine.machine, name="machine"),
]
