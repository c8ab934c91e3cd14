"""The column types that models share."""

from datetime import datetime
from typing import Annotated

from sqlalchemy import BigInteger, DateTime, Identity, func
from sqlalchemy.orm import mapped_column

big_id = Annotated[int, mapped_column(BigInteger, Identity(always=True), primary_key=True)]
timestamp = Annotated[datetime, mapped_column(DateTime(timezone=True))]
created_timestamp = Annotated[
    datetime, mapped_column(DateTime(timezone=True), server_default=func.now())
]
