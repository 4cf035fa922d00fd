from django.urls import path

from review import views

urlpatterns = [
    path("", views.queue, name="review_queue"),
    path("decisions/<int:pk>/undo/", views.undo, name="review_undo"),
    path("<slug:slug>/<int:number>/", views.proposal, name="review_proposal"),
    path("<slug:slug>/<int:number>/decide/", views.decide, name="review_decide"),
    path("<slug:slug>/<int:number>/withdraw/", views.withdraw, name="review_withdraw"),
]
