"""What notebooks take from `azureml.core` and `mssparkutils`: which workspace a model is in.

The pool goes to a workspace by a link that an operator made, so a notebook only says which. No secret leaves this process.
"""

from __future__ import annotations

from whimbrel._error import Error


class ServicePrincipalAuthentication:
    """Who a notebook says it is. The pool has its own identity in its link; nothing of this is sent."""

    def __init__(self, tenant_id: str, service_principal_id: str, service_principal_password: str) -> None:
        self.tenant_id = tenant_id
        self.service_principal_id = service_principal_id
        self._password = service_principal_password

    def __repr__(self) -> str:
        return f"ServicePrincipalAuthentication(tenant_id={self.tenant_id!r}, service_principal_id={self.service_principal_id!r})"


class Workspace:
    """An Azure ML workspace. The pool's link to it must be called as the workspace is."""

    def __init__(
        self,
        workspace_name: str,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        auth: ServicePrincipalAuthentication | None = None,
        *,
        link: str | None = None,
    ) -> None:
        self.name = workspace_name
        self.subscription_id = subscription_id
        self.resource_group = resource_group
        self.auth = auth
        self.link = link or workspace_name

    def __repr__(self) -> str:
        return f"Workspace({self.name!r})"

    def missing(self) -> Error:
        """The pool has no link to it."""
        auth = self.auth
        identity = (
            f"--tenant {auth.tenant_id} --client-id {auth.service_principal_id} --secret-env VARIABLE"
            if auth is not None
            else "--managed-identity"
        )
        hint = (
            f"`whimbrel link add {self.link} --kind azureml --workspace {self.name} --resource-group {self.resource_group or 'R'} "
            f"--subscription {self.subscription_id or 'S'} {identity}`"
        )
        return Error("not_found", f"the pool has no link '{self.link}' to workspace '{self.name}'", hint)


class AzureML:
    """`mssparkutils.azureML`."""

    @staticmethod
    def getWorkspace(linked_service: str) -> Workspace:
        """The workspace of a link, by the link's name."""
        return Workspace(linked_service, link=linked_service)


class MSSparkUtils:
    """`mssparkutils`, as far as PREDICT needs it."""

    azureML = AzureML()


azureML = MSSparkUtils.azureML
mssparkutils = MSSparkUtils()
