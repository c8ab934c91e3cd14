"""The properties that a new portal has, as tables: a useful part of HubSpot's several hundred.

Source: HubSpot docs, default contact, company, deal and ticket properties, and line items.
"""

from dataclasses import replace

from hubspot_sandbox.schema import Option, Property

LIFECYCLE_STAGES = (
    ("subscriber", "Subscriber"),
    ("lead", "Lead"),
    ("marketingqualifiedlead", "Marketing Qualified Lead"),
    ("salesqualifiedlead", "Sales Qualified Lead"),
    ("opportunity", "Opportunity"),
    ("customer", "Customer"),
    ("evangelist", "Evangelist"),
    ("other", "Other"),
)


def text(name: str, label: str, field_type: str = "text") -> Property:
    """Declare a text property."""
    return Property(name, label, "string", field_type)


def number(name: str, label: str) -> Property:
    """Declare a number."""
    return Property(name, label, "number", "number")


def moment(name: str, label: str) -> Property:
    """Declare a date with a time of day."""
    return Property(name, label, "datetime", "date")


def choice(name: str, label: str, *choices: tuple[str, str], many: bool = False) -> Property:
    """Declare an enumeration of (value, label) pairs."""
    options = tuple(Option(value, shown, at) for at, (value, shown) in enumerate(choices))
    return Property(name, label, "enumeration", "checkbox" if many else "select", options=options)


def external(name: str, label: str, referenced: str | None = None) -> Property:
    """Declare an enumeration whose options live elsewhere: owners, pipelines, stages."""
    return Property(
        name, label, "enumeration", "select", referenced_object_type=referenced, options=()
    )


def yes_no(name: str, label: str) -> Property:
    """Declare a boolean."""
    options = (Option("true", "Yes", 0), Option("false", "No", 1))
    return Property(name, label, "bool", "booleancheckbox", options=options)


def read_only(declared: Property, *, calculated: bool = False) -> Property:
    """Make a property that HubSpot alone writes."""
    return replace(declared, read_only=True, calculated=calculated)


def words(*values: str) -> tuple[tuple[str, str], ...]:
    """Make (value, label) pairs from values such as ``IN_PROGRESS``."""
    return tuple((value, value.replace("_", " ").title()) for value in values)


CONTACT_LIFECYCLE = "contacts-lifecycle-pipeline"
COMPANY_LIFECYCLE = "companies-lifecycle-pipeline"
LIFECYCLE = choice("lifecyclestage", "Lifecycle Stage", *LIFECYCLE_STAGES)
LEAD_STATUS = choice(
    "hs_lead_status",
    "Lead Status",
    *words("NEW", "OPEN", "IN_PROGRESS", "OPEN_DEAL", "UNQUALIFIED", "ATTEMPTED_TO_CONTACT"),
    *words("CONNECTED", "BAD_TIMING"),
)
OWNER = external("hubspot_owner_id", "Owner", "OWNER")
CURRENCIES = words("USD", "EUR", "GBP", "CAD", "AUD", "JPY", "CHF", "SEK", "PHP")
CURRENCIES = tuple((value, value) for value, _ in CURRENCIES)

SEARCHABLE_PHONE = read_only(
    text("hs_searchable_calculated_phone_number", "Calculated Phone Number"), calculated=True
)
SEARCHABLE_MOBILE = read_only(
    text("hs_searchable_calculated_mobile_number", "Calculated Mobile Number"), calculated=True
)

SYSTEM = (
    replace(read_only(number("hs_object_id", "Record ID")), unique=True),
    read_only(moment("createdate", "Create Date")),
    read_only(moment("hs_lastmodifieddate", "Last Modified Date")),
    read_only(moment("hs_createdate", "Object create date/time")),
    read_only(text("hs_merged_object_ids", "Merged Record IDs")),
    read_only(text("hs_object_source", "Record creation source")),
    read_only(text("hs_object_source_label", "Record source")),
    read_only(text("hs_object_source_id", "Record creation source ID")),
    read_only(number("hs_created_by_user_id", "Created by user ID")),
    read_only(number("hs_updated_by_user_id", "Updated by user ID")),
    read_only(moment("hubspot_owner_assigneddate", "Owner assigned date")),
)

CONTACT = (
    text("email", "Email"),
    text("firstname", "First Name"),
    text("lastname", "Last Name"),
    text("phone", "Phone Number", "phonenumber"),
    text("mobilephone", "Mobile Phone Number", "phonenumber"),
    text("fax", "Fax Number"),
    text("company", "Company Name"),
    text("website", "Website URL"),
    text("jobtitle", "Job Title"),
    text("salutation", "Salutation"),
    text("industry", "Industry"),
    text("address", "Street Address"),
    text("city", "City"),
    text("state", "State/Region"),
    text("zip", "Postal Code"),
    text("country", "Country/Region"),
    text("date_of_birth", "Date of birth"),
    text("message", "Message", "textarea"),
    text("hs_additional_emails", "Additional email addresses"),
    text("hs_language_code", "Language code"),
    text("twitterhandle", "Twitter Username"),
    number("annualrevenue", "Annual Revenue"),
    choice("numemployees", "Number of Employees", *words("1-5", "5-25", "25-50", "50-100")),
    LIFECYCLE,
    choice("hs_pipeline", "Pipeline", (CONTACT_LIFECYCLE, "Lifecycle Stage Pipeline")),
    LEAD_STATUS,
    OWNER,
    read_only(moment("lastmodifieddate", "Last Modified Date")),
    read_only(text("hs_calculated_merged_vids", "Merged vids with timestamps"), calculated=True),
    read_only(text("hs_email_domain", "Email Domain"), calculated=True),
    SEARCHABLE_PHONE,
    SEARCHABLE_MOBILE,
    read_only(text("hs_full_name_or_email", "Full name or email"), calculated=True),
    read_only(number("associatedcompanyid", "Primary Associated Company ID")),
    read_only(number("num_associated_deals", "Number of Associated Deals"), calculated=True),
    read_only(number("num_unique_conversion_events", "Number of Unique Forms Submitted")),
)

COMPANY = (
    text("name", "Company name"),
    text("domain", "Company Domain Name"),
    text("phone", "Phone Number", "phonenumber"),
    text("website", "Website URL"),
    text("description", "Description", "textarea"),
    text("about_us", "About Us", "textarea"),
    text("address", "Street Address"),
    text("address2", "Street Address 2"),
    text("city", "City"),
    text("state", "State/Region"),
    text("zip", "Postal Code"),
    text("country", "Country/Region"),
    text("founded_year", "Year Founded"),
    text("linkedin_company_page", "LinkedIn Company Page"),
    number("annualrevenue", "Annual Revenue"),
    number("numberofemployees", "Number of Employees"),
    choice(
        "industry",
        "Industry",
        *words("ACCOUNTING", "AUTOMOTIVE", "BANKING", "BIOTECHNOLOGY", "COMPUTER_SOFTWARE"),
        *words("CONSTRUCTION", "CONSUMER_GOODS", "DESIGN", "EDUCATION_MANAGEMENT"),
        *words("FARMING", "FINANCIAL_SERVICES", "FOOD_PRODUCTION", "HOSPITALITY", "INSURANCE"),
        *words("INFORMATION_TECHNOLOGY_AND_SERVICES", "LOGISTICS_AND_SUPPLY_CHAIN", "MACHINERY"),
        *words("MANAGEMENT_CONSULTING", "MEDICAL_DEVICES", "PUBLISHING", "REAL_ESTATE"),
        *words("RENEWABLES_ENVIRONMENT", "RETAIL", "TELECOMMUNICATIONS", "UTILITIES"),
    ),
    choice("type", "Type", *words("PROSPECT", "PARTNER", "RESELLER", "VENDOR", "OTHER")),
    LIFECYCLE,
    choice("hs_pipeline", "Pipeline", (COMPANY_LIFECYCLE, "Lifecycle Stage Pipeline")),
    LEAD_STATUS,
    OWNER,
    SEARCHABLE_PHONE,
    read_only(number("hs_parent_company_id", "Parent Company")),
    read_only(number("num_associated_contacts", "Number of Associated Contacts"), calculated=True),
    read_only(number("num_associated_deals", "Number of Associated Deals"), calculated=True),
)

DEAL = (
    text("dealname", "Deal Name"),
    external("pipeline", "Pipeline"),
    external("dealstage", "Deal Stage"),
    number("amount", "Amount"),
    moment("closedate", "Close Date"),
    text("description", "Deal Description", "textarea"),
    text("hs_next_step", "Next step"),
    text("closed_lost_reason", "Closed Lost Reason", "textarea"),
    text("closed_won_reason", "Closed Won Reason", "textarea"),
    choice("dealtype", "Deal Type", *words("newbusiness", "existingbusiness")),
    choice("hs_priority", "Priority", *words("low", "medium", "high")),
    choice("deal_currency_code", "Currency", *CURRENCIES),
    OWNER,
    read_only(yes_no("hs_is_closed", "Is Deal Closed?"), calculated=True),
    read_only(yes_no("hs_is_closed_won", "Is Closed Won"), calculated=True),
    read_only(number("hs_deal_stage_probability", "Deal probability"), calculated=True),
    read_only(number("amount_in_home_currency", "Amount in company currency"), calculated=True),
    read_only(number("hs_closed_amount", "Closed Deal Amount"), calculated=True),
    read_only(number("hs_forecast_amount", "Forecast amount"), calculated=True),
    read_only(number("num_associated_contacts", "Number of Associated Contacts"), calculated=True),
)

TICKET = (
    text("subject", "Ticket name"),
    text("content", "Ticket description", "textarea"),
    external("hs_pipeline", "Pipeline"),
    external("hs_pipeline_stage", "Ticket status"),
    choice("hs_ticket_priority", "Priority", *words("LOW", "MEDIUM", "HIGH", "URGENT")),
    choice(
        "hs_ticket_category",
        "Category",
        *words("PRODUCT_ISSUE", "BILLING_ISSUE", "FEATURE_REQUEST", "GENERAL_INQUIRY"),
        many=True,
    ),
    choice(
        "hs_resolution",
        "Resolution",
        *words("ISSUE_FIXED", "FEATURE_REQUEST_TRACKED", "UNRESPONSIVE"),
        many=True,
    ),
    choice("source_type", "Source", *words("CHAT", "EMAIL", "FORM", "PHONE")),
    OWNER,
    read_only(yes_no("hs_is_closed", "Is ticket closed?"), calculated=True),
    read_only(moment("closed_date", "Close date")),
    read_only(number("time_to_close", "Time to close"), calculated=True),
)

LINE_ITEM = (
    text("name", "Name"),
    text("description", "Description", "textarea"),
    number("price", "Unit price"),
    number("quantity", "Quantity"),
    number("discount", "Discount"),
    number("hs_discount_percentage", "Discount percentage"),
    number("hs_cost_of_goods_sold", "Unit cost"),
    number("tax", "Tax"),
    text("hs_sku", "SKU"),
    number("hs_product_id", "Product ID"),
    number("hs_position_on_quote", "Position on quote"),
    text("hs_recurring_billing_period", "Term"),
    choice(
        "recurringbillingfrequency",
        "Billing frequency",
        *words("weekly", "monthly", "quarterly", "per_six_months", "annually"),
    ),
    choice("hs_line_item_currency_code", "Currency", *CURRENCIES),
    OWNER,
    read_only(number("amount", "Net price"), calculated=True),
    read_only(number("hs_pre_discount_amount", "Pre discount amount"), calculated=True),
)

PRODUCT = (
    text("name", "Name"),
    text("description", "Product description", "textarea"),
    number("price", "Unit price"),
    number("hs_cost_of_goods_sold", "Unit cost"),
    number("tax", "Tax"),
    text("hs_sku", "SKU"),
    text("hs_url", "URL"),
    text("hs_images", "Image URL"),
    text("hs_recurring_billing_period", "Term"),
    choice(
        "recurringbillingfrequency",
        "Billing frequency",
        *words("weekly", "monthly", "quarterly", "per_six_months", "annually"),
    ),
    choice("hs_product_type", "Product Type", *words("inventory", "non_inventory", "service")),
    OWNER,
)


def in_group(group: str, properties: tuple[Property, ...]) -> tuple[Property, ...]:
    """Return an object type's properties and the common ones, placed in its stock group."""
    return tuple(replace(declared, group=group) for declared in (*SYSTEM, *properties))
