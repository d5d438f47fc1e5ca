"""Whether an operator leads, as `helm test` asks."""

from __future__ import annotations

import asyncio
from typing import Any

from unit.operator.leases_world import Line, Server, run

from fpj_operator import selftest


def lease(holder: str, renewed: str) -> dict[str, Any]:
    metadata = {"name": "fpj-operator", "namespace": "fpj-system"}
    return {
        "kind": "Lease",
        "metadata": metadata,
        "spec": {"holderIdentity": holder, "renewTime": renewed},
    }


def problem(*, holder: str = "one", renews: bool = True) -> str:
    """What it says of a leader whose clock is years behind."""

    async def within() -> str:
        server = Server()

        async def lead() -> None:
            for number in range(100):
                server.put(
                    "one",
                    lease(
                        holder, f"1999-01-01T00:00:{number % 60:02}.000000Z" if renews else "1999"
                    ),
                )
                await asyncio.sleep(3)

        leading = asyncio.create_task(lead())
        await asyncio.sleep(0)
        line: Any = Line(server, "test")
        found = await selftest.within(0.2, selftest.Leads(line, "fpj-system"))
        leading.cancel()
        return found

    return run(within())


def test_a_leader_is_one_that_renews_its_lease() -> None:
    assert problem() == "ok"
    assert problem(renews=False) == "one no longer leads: its Lease is not renewed"
    assert problem(holder="") == "nobody holds the Lease fpj-operator in fpj-system"
