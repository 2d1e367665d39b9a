import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import java.nio.file.Files;
import java.nio.file.Path;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;

/** Validates the files it is given as FHIR R4 resources; ends with 1 if one has an error. */
public class Validate {
    public static void main(String[] files) throws Exception {
        FhirContext context = FhirContext.forR4();
        ValidationSupportChain support = new ValidationSupportChain(
                new DefaultProfileValidationSupport(context),
                new CommonCodeSystemsTerminologyService(context),
                new InMemoryTerminologyServerValidationSupport(context));
        FhirInstanceValidator instance = new FhirInstanceValidator(support);
        // Profiles of IHE are named in AuditEvents and do not come with R4.
        instance.setErrorForUnknownProfiles(false);
        FhirValidator validator = context.newValidator().registerValidatorModule(instance);
        int errors = 0;
        for (String file : files) {
            String text = Files.readString(Path.of(file));
            int own = 0;
            int warnings = 0;
            for (SingleValidationMessage said : validator.validateWithResult(text).getMessages()) {
                boolean isError = said.getSeverity().compareTo(ResultSeverityEnum.ERROR) >= 0;
                if (isError) {
                    own += 1;
                    System.out.printf("%s: %s %s: %s%n", Path.of(file).getFileName(),
                            said.getSeverity(), said.getLocationString(), said.getMessage());
                } else if (said.getSeverity() == ResultSeverityEnum.WARNING) {
                    // That there is no narrative, and that a made-up ward lives in 2150.
                    warnings += 1;
                }
            }
            System.out.printf("%s: %d errors, %d warnings%n",
                    Path.of(file).getFileName(), own, warnings);
            errors += own;
        }
        System.exit(errors > 0 ? 1 : 0);
    }
}
