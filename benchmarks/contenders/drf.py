"""Django REST Framework, on Django's own ORM."""

from urllib.parse import urlsplit

import django
from django.conf import settings

from .common import FOLLOWS
from .common import INTERVALS
from .common import may
from .common import session_for
from .common import stamp


def create(url):
    session_for(url).get_bind().dispose()  # the table and the row that all have
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": database(url)},
        DEBUG_PROPAGATE_EXCEPTIONS=True,
        INSTALLED_APPS=["rest_framework"],
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": [],
            "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
            "DEFAULT_PERMISSION_CLASSES": [],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "UNAUTHENTICATED_USER": None,
        },
        ROOT_URLCONF=__name__ + "_urls",
        SECRET_KEY="benchmark",
        USE_TZ=False,
    )
    django.setup()
    from django.core.wsgi import get_wsgi_application

    build()
    return get_wsgi_application()


def database(url):
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        name = {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path[1:]}
        return {**name, "OPTIONS": {"transaction_mode": "IMMEDIATE"}, "CONN_MAX_AGE": None}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "USER": parts.username,
        "HOST": parts.hostname,
        "PORT": parts.port,
        "CONN_MAX_AGE": None,
    }


def build():
    import sys
    import types

    from django.db import models
    from django.db import transaction
    from django.urls import path
    from rest_framework import serializers
    from rest_framework.response import Response
    from rest_framework.views import APIView

    text = {"max_length": 255, "null": True}

    class Backfill(models.Model):
        pipeline_uuid = models.CharField(max_length=255)
        name = models.CharField(**text)
        block_uuid = models.CharField(**text)
        pipeline_schedule_id = models.IntegerField(null=True)
        start_datetime = models.DateTimeField(null=True)
        end_datetime = models.DateTimeField(null=True)
        interval_type = models.CharField(
            null=True, max_length=16, choices=[(i, i) for i in INTERVALS]
        )
        interval_units = models.PositiveIntegerField(null=True)
        status = models.CharField(null=True, max_length=16, choices=[(s, s) for s in FOLLOWS[None]])
        variables = models.JSONField(null=True)
        metrics = models.JSONField(null=True)
        settings = models.JSONField(null=True)
        started_at = models.DateTimeField(null=True)
        completed_at = models.DateTimeField(null=True)
        failed_at = models.DateTimeField(null=True)
        created_at = models.DateTimeField(auto_now_add=True)
        updated_at = models.DateTimeField(auto_now=True)

        class Meta:
            app_label = "rest_framework"
            db_table = "backfill"
            managed = False

    class Serializer(serializers.ModelSerializer):
        class Meta:
            model = Backfill
            fields = "__all__"
            read_only_fields = ("id", "pipeline_uuid", "created_at", "updated_at")

        def validate(self, values):
            unknown = self.initial_data.keys() - self.fields.keys()
            if unknown:
                raise serializers.ValidationError(dict.fromkeys(unknown, "Unknown field."))
            start = values.get("start_datetime", self.instance.start_datetime)
            end = values.get("end_datetime", self.instance.end_datetime)
            if start and end and start > end:
                raise serializers.ValidationError({"end_datetime": "Must be on or after start."})
            status = values.get("status", self.instance.status)
            if status != self.instance.status:
                if status not in FOLLOWS[self.instance.status]:
                    raise serializers.ValidationError({"status": "Not allowed."})
                stamp(self.instance, status, values)
            return values

    class One(APIView):
        def put(self, request, pipeline_uuid, backfill_id):
            if not may(request.headers.get("X-API-KEY")):
                return Response({}, 401)
            with transaction.atomic():
                rows = Backfill.objects.select_for_update()
                backfill = rows.get(id=backfill_id, pipeline_uuid=pipeline_uuid)
                serializer = Serializer(backfill, data=request.data["backfill"], partial=True)
                serializer.is_valid(raise_exception=True)
                serializer.save()
                return Response({"backfill": serializer.data})

    urls = types.ModuleType(__name__ + "_urls")
    where = "api/pipelines/<str:pipeline_uuid>/backfills/<int:backfill_id>"
    urls.urlpatterns = [path(where, One.as_view())]
    sys.modules[urls.__name__] = urls
