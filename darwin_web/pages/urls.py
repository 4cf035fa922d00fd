from django.urls import URLPattern, path, re_path

from darwin_web.pages import (
    curves,
    experiment,
    lineage,
    machine,
    new,
    overview,
    prices,
    spending,
    state,
    strategies,
    thought,
    variant,
)

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
    path("experiments/<slug:slug>/thought/", thought.experiment_thought, name="experiment_thought"),
    path("experiments/<slug:slug>/spending/", spending.experiment_spending, name="experiment_spending"),
    path("experiments/<slug:slug>/lineage/", lineage.lineage, name="lineage"),
    path("experiments/<slug:slug>/lineage/data/", lineage.lineage_data, name="lineage_data"),
    path("experiments/<slug:slug>/strategies/", strategies.strategies_page, name="strategies"),
    path("experiments/<slug:slug>/strategies/add/", strategies.strategy_add, name="strategy_add"),
    path("experiments/<slug:slug>/strategies/<slug:name>/share/", strategies.strategy_share, name="strategy_share"),
    path("experiments/<slug:slug>/variants/<int:number>/", variant.variant, name="variant"),
    path("machine/prices/", prices.prices, name="prices"),
    path("machine/calls/", prices.calls_switch, name="calls_switch"),
    path("machine/", machine.machine, name="machine"),
]
